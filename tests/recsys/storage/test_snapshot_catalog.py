"""Snapshots in a real store: listed, found, compared, and restored to the same digest in another database."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sample_world.writer import write_sample_world
from recsys.data.watch_statuses import WatchStatuses
from recsys.exceptions import ArtifactError
from recsys.storage import snapshot_catalog, tables
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.ingestion import ingest_directory
from recsys.storage.migration import migrate
from recsys.storage.snapshot_catalog import (
    compare_snapshots,
    find_snapshot,
    list_snapshots,
    load_entry,
    restore_snapshot,
)
from recsys.storage.snapshots import Snapshot, compute_snapshot_digest, read_snapshot, write_snapshot

pytestmark = pytest.mark.local


def make_snapshot(snapshot: Snapshot, **tables_of_it: object) -> Snapshot:
    """Replace tables of a snapshot and name it anew."""
    parts = {name: getattr(snapshot, name) for name in ("catalog", "interactions", "users", "statuses")} | tables_of_it
    return Snapshot(digest=compute_snapshot_digest(**parts), **parts)


@pytest.fixture
def frozen(engine: Engine, store: ArtifactStore, folder: Path) -> Snapshot:
    return read_snapshot(store, ingest_directory(folder, engine, store).snapshot_uri)


def test_snapshots_are_listed_with_the_runs_that_froze_them(
    engine: Engine, store: ArtifactStore, frozen: Snapshot
) -> None:
    with engine.begin() as connection:
        arrived = pd.DataFrame({"user_id": [999], "arrived_on": [date(2026, 1, 9)], "batch_id": "x"})
        upsert_rows(connection, tables.users, arrived)
    uri = write_snapshot(engine, store, None)
    store.write_bytes("retrain/2026-01-11/snapshot/snapshot.json", f'{{"uri": "{uri}"}}'.encode())
    store.write_bytes("snapshots/unfinished/items.parquet", b"half")
    newest, oldest = list_snapshots(store)
    assert (newest.run_keys, oldest.run_keys) == (("2026-01-11",), ())
    assert oldest.digest == frozen.digest
    assert newest.written_at >= oldest.written_at
    assert newest.size > 1000
    assert find_snapshot(store, "2026-01-11") == newest
    assert find_snapshot(store, frozen.digest[:6].upper()) == oldest
    assert load_entry(store, newest).users["user_id"].tolist()[-1] == 999
    for name in ("2026-01-18", frozen.digest[:3], "zzzz"):
        with pytest.raises(ArtifactError, match=f"there is no snapshot '{name}'"):
            find_snapshot(store, name)


def test_an_ambiguous_digest_is_refused(store: ArtifactStore) -> None:
    for digest in ("abcdef01", "abcdef02"):
        store.write_bytes(f"snapshots/{digest}/manifest.json", b"{}")
    with pytest.raises(ArtifactError, match=r"2 snapshots \(abcdef0[12], abcdef0[12]\); give more digits"):
        find_snapshot(store, "abcd")


def test_a_difference_names_rows_and_columns(frozen: Snapshot) -> None:
    same = compare_snapshots(frozen, frozen)
    assert [(len(d.added), len(d.removed), len(d.changed)) for d in same.values()] == [(0, 0, 0)] * 4
    items = frozen.catalog.items.copy()
    is_five = items["item_id"] == 5
    items["title"] = items["title"].mask(is_five, "Another")
    items["episodes"] = items["episodes"].mask(is_five)
    items["genres"] = [["Drama"], *items["genres"].tolist()[1:]]
    ratings = frozen.interactions.table.iloc[2:].copy()
    later = make_snapshot(
        frozen,
        catalog=Catalog(items[items["item_id"] != 12]),
        interactions=Interactions(ratings[ratings["item_id"] != 12]),
        users=frozen.users.assign(arrived_on=pd.Series([date(2026, 1, 9)], index=[0], dtype=object)),
        statuses=WatchStatuses(pd.DataFrame({"user_id": [1], "item_id": [9], "status": ["dropped"]})),
    )
    found = compare_snapshots(frozen, later)
    assert (found["items"].removed, found["items"].changed) == ([12], [1, 5])
    assert found["items"].columns == {"title": 1, "genres": 1, "episodes": 1}
    assert (found["users"].changed, found["users"].columns) == ([0], {})
    assert found["ratings"].changed == []
    assert found["ratings"].removed[:3] == [(0, 1), (0, 5), (0, 12)]
    assert found["watch_statuses"].added == [(1, 9)]
    changed = make_snapshot(frozen, interactions=Interactions(frozen.interactions.table.assign(rating=np.int8(3))))
    n_changed = int((frozen.interactions.table["rating"] != 3).sum())
    assert len(compare_snapshots(frozen, changed)["ratings"].changed) == n_changed


@pytest.mark.parametrize("listed", [False, True])
def test_restored_files_freeze_to_the_same_digest_in_another_database(
    listed: bool, engine: Engine, empty_database_url: str, store: ArtifactStore, tmp_path: Path
) -> None:
    write_sample_world(tmp_path / "world", n_users=60, n_items=80, n_ratings=1_500, seed=3)
    frozen = read_snapshot(store, ingest_directory(tmp_path / "world", engine, store, hold_back=0.0).snapshot_uri)
    if listed:
        pairs = frozen.interactions.table[["user_id", "item_id"]].iloc[::7]
        unrated = pd.DataFrame({"user_id": pairs["user_id"].unique()[:5], "item_id": frozen.catalog.item_ids[-1]})
        rated = frozen.interactions.table.merge(unrated, on=["user_id", "item_id"])
        assert len(rated) < 5
        statuses = pd.concat([pairs.assign(status="completed"), unrated.assign(status="planned")])
        frozen = make_snapshot(frozen, statuses=WatchStatuses(statuses.drop_duplicates(["user_id", "item_id"])))
    files = restore_snapshot(frozen, tmp_path / "restored")
    assert [path.name for path in files] == [
        *(["anime.csv", "animelist.csv"] if listed else ["anime.csv", "rating_complete.csv"]),
        "users.csv",
    ]
    other = create_database_engine(empty_database_url)
    migrate(other)
    again = ingest_directory(tmp_path / "restored", other, store, hold_back=0.0)
    other.dispose()
    assert again.snapshot_uri == store.uri(f"snapshots/{frozen.digest}/")
    assert not any(file.quarantined for file in again.files)


def test_texts_that_look_like_escapes_lists_or_missing_values_come_back(frozen: Snapshot, tmp_path: Path) -> None:
    items = frozen.catalog.items.copy()
    items["title"] = ["R&D &lt;3", 'A "quoted", title', "[Oshi no Ko]", "x;y|z"]
    items["synopsis"] = ["Line one.\nLine two; a 'quote'.", None, "&", " ".join("ab" * 40)]
    items["synonyms"] = [["a, b", "c|d"], [], ["it's"], ["R&B"]]
    items["duration_minutes"] = [24.0, np.nan, 0.5, 115.25]
    items["aired_from"] = [date(1998, 4, 3), None, date(2024, 2, 29), None]
    items["aired_to"] = [None, None, date(2024, 12, 31), date(1999, 1, 1)]
    snapshot = make_snapshot(frozen, catalog=Catalog(items))
    restore_snapshot(snapshot, tmp_path / "restored")


def test_what_cannot_be_restored_leaves_nothing_behind(
    frozen: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    with pytest.raises(ArtifactError, match="not empty; choose a new folder"):
        restore_snapshot(frozen, taken)
    with pytest.raises(ArtifactError, match="cannot be written"):
        restore_snapshot(frozen, taken / "file" / "below")
    items = frozen.catalog.items.assign(duration_minutes=1 / 3 + 1e-6)
    with pytest.raises(ArtifactError, match="do not read back as what it holds; nothing is restored"):
        restore_snapshot(make_snapshot(frozen, catalog=Catalog(items)), tmp_path / "restored")

    def fill_the_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_catalog, "write_files", fill_the_disk)
    with pytest.raises(ArtifactError, match="No space left on device"):
        restore_snapshot(frozen, tmp_path / "restored")
    assert sorted(path.name for path in tmp_path.iterdir() if "restored" in path.name) == []
