"""What the home remembers survives, and damage to it is repaired or refused in a sentence."""

import fcntl
import json
import stat
from pathlib import Path

import pytest

from otaku.platform.state import (
    State,
    locked,
    prepare_home,
    read_credentials,
    read_state,
    write_state,
)
from otaku.platform.supervisor import Running
from recsys.exceptions import ConfigurationError, ServiceUnavailableError

STATE = State((Running("s3", 42, "boot/15", "http://127.0.0.1:9"),), {"s3": 9})


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_state_is_read_as_written(tmp_path: Path) -> None:
    assert read_state(tmp_path) == State()
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE
    assert _mode(tmp_path / "state.json") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "services": [{"na',
        b"[]",
        b"\xff\xfe",
        b'{"version": 99, "services": [], "ports": {}}',
        b'{"version": 1, "services": [{"name": "s3"}], "ports": {}}',
        b'{"version": 1, "services": 3, "ports": {}}',
    ],
)
def test_a_broken_state_is_put_aside(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state.json").write_bytes(content)
    assert read_state(tmp_path) == State()
    assert (tmp_path / "state.json.broken").read_bytes() == content
    assert "starting afresh" in caplog.text


def test_home_and_credentials_are_for_the_owner_alone(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "deep" / "home")
    first = read_credentials(home)
    assert _mode(home) == 0o700
    assert _mode(home / "credentials.json") == 0o600
    assert read_credentials(prepare_home(home)) == first
    assert read_credentials(prepare_home(tmp_path / "other")) != first
    assert len(first.access_key_id) >= 10


def test_damaged_credentials_are_refused(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"database_pass')
    with pytest.raises(ConfigurationError, match=r"credentials.json is damaged; restore it"):
        read_credentials(tmp_path)
    (tmp_path / "credentials.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(ConfigurationError, match=r"credentials.json is damaged"):
        read_credentials(tmp_path)


def test_missing_credentials_are_not_invented_for_running_services(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run otaku up"):
        read_credentials(tmp_path, create=False)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"OTAKU_HOME=.*file/home"):
        prepare_home(tmp_path / "file" / "home")


def test_the_lock_is_held_by_one_and_a_leftover_lock_file_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4242")
    with locked(tmp_path, timeout=0.2):
        with (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(ServiceUnavailableError, match="another otaku command"), locked(tmp_path, timeout=0.2):
            pass
    with locked(tmp_path, timeout=0.2):
        pass
