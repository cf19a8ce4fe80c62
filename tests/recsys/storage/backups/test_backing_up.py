"""What a backup holds, how little a second one copies, and what is deleted with an old one."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from recsys.exceptions import ArtifactError, ConfigurationError, DataContractError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.backups import Sources, back_up, list_backups, open_target, prune_backups, restore
from recsys.storage.backups.manifest import read_manifest
from recsys.storage.backups.pg_tools import _find
from recsys.storage.backups.targets import Target
from recsys.storage.database import create_database_engine
from recsys.storage.registry import Registry
from recsys.storage.tables import decisions, items

pytestmark = pytest.mark.local
NOW = dt.datetime(2026, 1, 5, 3, 15, tzinfo=dt.UTC)


@pytest.fixture
def sources(database_url: str, store: ArtifactStore) -> Iterator[Sources]:
    """A database with two titles and a promotion, a registry of one table, and three objects of two contents."""
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        connection.execute(insert(items), [{"item_id": item, "title": f"Title {item}"} for item in (1, 2)])
        row = {"run_key": "w", "action": "promote", "actor": "gate", "reason": "r", "evidence": {}}
        connection.execute(insert(decisions).values({**row, "challenger_version": 7}))
        connection.exec_driver_sql("CREATE TABLE public.registered_models AS SELECT 'a' AS name")
    for key, content in (("snapshots/a", b"one"), ("snapshots/b", b"one"), ("retrain/c", b"two"), ("dry-run/d", b"-")):
        store.write_bytes(key, content)
    yield Sources(engine, engine, Registry("http://127.0.0.1:1", "anime-recommender", store), store)
    engine.dispose()


@pytest.fixture(params=["folder", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path, store: ArtifactStore) -> Target:
    place = str(tmp_path / "backups") if request.param == "folder" else f"s3://b{store.bucket[-20:]}/some/prefix"

    def open_bucket(bucket: str) -> ArtifactStore:
        other = ArtifactStore.__new__(ArtifactStore)
        other.__dict__ = {**store.__dict__, "bucket": bucket}
        return other

    return open_target(place, open_bucket, own_bucket=store.bucket)


def count_objects(target: Target) -> int:
    return len(target.list_names("objects"))


def test_a_backup_names_rows_versions_and_objects(sources: Sources, target: Target) -> None:
    manifest = back_up(sources, target, now=NOW)
    assert manifest.name == "20260105T031500Z"
    assert read_manifest(target, manifest.name) == manifest
    assert (manifest.counts["items"], manifest.counts["users"], manifest.production_version) == (2, 0, 7)
    assert manifest.registry_counts == {"registered_models": 1}
    assert sorted(manifest.objects) == ["retrain/c", "snapshots/a", "snapshots/b"]
    assert count_objects(target) == 2
    assert manifest.n_bytes == sum(dump.size for dump in manifest.dumps.values()) + 6
    with pytest.raises(DataContractError, match="there is a backup 20260105T031500Z already"):
        back_up(sources, target, now=NOW)


def test_a_second_backup_copies_what_is_new_and_an_old_one_takes_along_what_is_its_own(
    sources: Sources, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = back_up(sources, target, now=NOW)
    sources.store.write_bytes("retrain/c", b"three")
    read: list[str] = []
    download = ArtifactStore.download_file

    def note(store: ArtifactStore, key: str, path: Path) -> tuple[str, int]:
        read.append(key)
        return download(store, key, path)

    monkeypatch.setattr(ArtifactStore, "download_file", note)
    second = back_up(sources, target, now=NOW + dt.timedelta(days=1))
    assert [key for key in read if not key.endswith("manifest.json")] == ["retrain/c"]
    assert count_objects(target) == 3
    assert prune_backups(target, keep=2) == []
    assert prune_backups(target, keep=1) == [first.name]
    assert list_backups(target) == [second.name]
    assert count_objects(target) == 2
    with pytest.raises(ArtifactError, match="does not exist"):
        read_manifest(target, first.name)


def test_a_database_without_the_registry_is_refused(sources: Sources, target: Target) -> None:
    with sources.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE public.registered_models")
    with pytest.raises(ConfigurationError, match="holds no table of MLflow in schema public"):
        back_up(sources, target, now=NOW)


def test_an_unfinished_backup_is_none(sources: Sources, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(*_: object) -> None:
        raise ArtifactError("it vanished")

    monkeypatch.setattr(ArtifactStore, "download_file", vanish)
    with pytest.raises(ArtifactError, match="it vanished"):
        back_up(sources, target, now=NOW)
    monkeypatch.undo()
    assert list_backups(target) == []
    with pytest.raises(ArtifactError, match="there is no backup at this place"):
        restore(sources, target)
    assert back_up(sources, target, now=NOW).name in list_backups(target)


@pytest.mark.parametrize("place", ["ftp://host/place", "s3://", "s3://mine/backups"])
def test_a_place_that_cannot_hold_backups_is_named(place: str, store: ArtifactStore) -> None:
    with pytest.raises(ConfigurationError, match=f"{place} "):
        open_target(place, lambda _: store, own_bucket="mine")


@pytest.mark.parametrize("name", ["../../etc/passwd", "latest", ""])
def test_names_are_times(name: str, target: Target) -> None:
    with pytest.raises(ArtifactError, match="names no backup"):
        read_manifest(target, name)


def test_a_program_that_is_too_old_is_refused_with_the_package_to_install() -> None:
    with pytest.raises(
        ConfigurationError, match=r"pg_dump of PostgreSQL 99 or later is needed, the newest one here is \d"
    ):
        _find("pg_dump", 99)


def test_promotions_and_deletions_wait(sources: Sources, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both locks are held while the databases are dumped, and only that of deletions while objects are copied."""
    held: dict[str, int] = {}
    download, engine = ArtifactStore.download_file, sources.engine

    def count_locks(engine: Engine) -> int:
        with engine.connect() as connection:
            return int(
                connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar_one()
            )

    def note_download(store: ArtifactStore, key: str, path: Path) -> tuple[str, int]:
        held["copy"] = count_locks(engine)
        return download(store, key, path)

    def note_dump(name: str, *_: object) -> None:
        held["dump"] = count_locks(engine)
        raise ArtifactError("enough")

    monkeypatch.setattr(ArtifactStore, "download_file", note_download)
    back_up(sources, target, now=NOW)
    monkeypatch.setattr("recsys.storage.backups.backing_up.run_tool", note_dump)
    with pytest.raises(ArtifactError, match="enough"):
        back_up(sources, target, now=NOW + dt.timedelta(days=1))
    assert held == {"copy": 1, "dump": 2}
