import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.exceptions import ArtifactError, ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from tests.fork_server import run_program


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "weights.npz").write_bytes(bytes(range(256)) * 10_000)
    (directory / "schema.json").write_text("{}")
    return directory


def test_bytes(store: ArtifactStore) -> None:
    assert store.write_bytes("a/b", b"one") == f"s3://{store.bucket}/a/b" == store.uri("a/b")
    store.write_bytes("a/b", b"two")
    store.write_bytes("c", b"")
    assert store.read_bytes("a/b") == b"two"
    assert (store.exists("a/b"), store.exists("a"), store.exists("a/x")) == (True, False, False)
    assert (store.list_keys(""), store.list_keys("a/")) == (["a/b", "c"], ["a/b"])
    store.delete_prefix("a/")
    assert store.list_keys("") == ["c"]
    with pytest.raises(ArtifactError, match="does not exist"):
        store.read_bytes("a/b")


def test_keys_of_other_buckets_are_refused(store: ArtifactStore) -> None:
    assert store.key(store.uri("a/b")) == "a/b"
    with pytest.raises(ArtifactError, match="not in the bucket"):
        store.key("s3://elsewhere/a/b")


def test_directory_round_trip_ignores_strays(store: ArtifactStore, directory: Path, tmp_path: Path) -> None:
    assert store.write_directory("m/1/", directory) == store.uri("m/1/")
    store.write_bytes("m/1/stray", b"x")
    store.read_directory("m/1", tmp_path / "copy")
    copied = {path.relative_to(tmp_path / "copy"): path.read_bytes() for path in (tmp_path / "copy").rglob("*.*")}
    original = {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*.*")}
    assert copied == original


def test_a_folder_of_a_directory_comes_alone(store: ArtifactStore, tmp_path: Path) -> None:
    for name in ("MLmodel", "code/a.py", "data/recommender/model.json", "data/recommender2/model.json"):
        path = tmp_path / "version" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    store.write_directory("m/1", tmp_path / "version")
    # What is not asked for need not even be whole.
    store.write_bytes("m/1/code/a.py", b"altered")
    store.read_directory("m/1", tmp_path / "copy", below="data/recommender")
    found = [path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*")]
    assert found == ["data/recommender/model.json"]


def _truncate(content: bytes) -> bytes:
    return content[:-1]


def _flip(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("damage", [_truncate, _flip])
def test_damage_is_noticed_and_nothing_damaged_is_left_behind(
    store: ArtifactStore, directory: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store.write_directory("m", directory)
    store.write_bytes("m/deep/weights.npz", damage(store.read_bytes("m/deep/weights.npz")))
    with pytest.raises(ArtifactError, match="truncated or altered"):
        store.read_directory("m", tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("weights*"))


def test_missing_parts_are_noticed(store: ArtifactStore, directory: Path, tmp_path: Path) -> None:
    store.write_directory("m", directory)
    store.delete_prefix("m/schema.json")
    with pytest.raises(ArtifactError, match=r"schema\.json does not exist"):
        store.read_directory("m", tmp_path / "copy")
    with pytest.raises(ArtifactError, match=r"manifest\.json does not exist"):
        store.read_directory("nowhere", tmp_path / "copy")
    with pytest.raises(ArtifactError, match="no file to publish"):
        store.write_directory("m", tmp_path / "nothing")


@pytest.mark.parametrize("name", ["../escape", "/etc/escape"])
def test_a_manifest_cannot_reach_out_of_the_directory(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    store.write_bytes("m/manifest.json", json.dumps({"files": {name: {"sha256": "0", "size": 1}}}).encode())
    with pytest.raises(ArtifactError, match="outside the directory"):
        store.read_directory("m", tmp_path / "copy")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": {"a": 1}}'])
def test_a_manifest_that_is_none_is_noticed(store: ArtifactStore, tmp_path: Path, content: bytes) -> None:
    store.write_bytes("m/manifest.json", content)
    with pytest.raises(ArtifactError, match="is not a manifest"):
        store.read_directory("m", tmp_path)


_KILLED_PUBLISHER = """
import json, os, signal, sys
from pathlib import Path
from recsys.storage.artifacts import ArtifactStore
store = ArtifactStore(**json.loads(sys.argv[1]))
put, calls = store._client.put_object, []
def put_or_die(**arguments):
    calls.append(1)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return put(**arguments)
store._client.put_object = put_or_die
store.write_directory("m", Path(sys.argv[2]))
"""


@pytest.mark.parametrize("call", [1, 2, 3])
def test_killed_while_publishing(
    store: ArtifactStore, s3_settings: Settings, directory: Path, tmp_path: Path, call: int
) -> None:
    assert s3_settings.aws_access_key_id is not None
    assert s3_settings.aws_secret_access_key is not None
    arguments = {
        "bucket": store.bucket,
        "endpoint_url": str(s3_settings.s3_endpoint_url).rstrip("/"),
        "access_key_id": s3_settings.aws_access_key_id.get_secret_value(),
        "secret_access_key": s3_settings.aws_secret_access_key.get_secret_value(),
    }
    killed = run_program(["-c", _KILLED_PUBLISHER, json.dumps(arguments), directory, str(call)])
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(ArtifactError, match=r"manifest\.json does not exist"):
        store.read_directory("m", tmp_path / "copy")
    store.write_directory("m", directory)
    store.read_directory("m", tmp_path / "copy")
    assert (tmp_path / "copy" / "schema.json").read_text() == "{}"


def test_stores_of_one_process_sign_with_their_own_credentials_and_the_region_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, region in (("first-key", "eu-west-1"), ("second-key", "us-east-2")):
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        address = ArtifactStore("otaku", "http://127.0.0.1:1", key, "some-secret-key").presign("model")
        assert re.search(rf"X-Amz-Credential={key}%2F\d+%2F{region}%2Fs3", address), address


def test_a_server_that_does_not_answer_is_named() -> None:
    store = ArtifactStore("otaku", "http://127.0.0.1:1", "some-access-key", "some-secret-key")
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        store.exists("a")


def test_wrong_credentials_are_no_missing_artefact(store: ArtifactStore, s3_settings: Settings) -> None:
    stranger = ArtifactStore(
        store.bucket, str(s3_settings.s3_endpoint_url).rstrip("/"), "some-access-key", "wrong-secret"
    )
    with pytest.raises(ServiceUnavailableError, match="refused"):
        stranger.read_bytes("a")
