from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.watch_statuses import WatchStatuses
from recsys.exceptions import ArtifactError, EmptyCatalogError
from recsys.storage import tables
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_catalog, read_ratings, read_users, upsert_rows
from recsys.storage.ingestion import ingest_directory
from recsys.storage.snapshots import compute_snapshot_digest, read_snapshot, write_snapshot


def test_a_snapshot_reads_back_what_the_tables_hold(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    uri = ingest_directory(folder, engine, store).snapshot_uri
    snapshot = read_snapshot(store, uri)
    pd.testing.assert_frame_equal(snapshot.catalog.items, read_catalog(engine).items)
    pd.testing.assert_frame_equal(snapshot.interactions.table, read_ratings(engine, None).table)
    pd.testing.assert_frame_equal(snapshot.users, read_users(engine, None))
    assert uri == store.uri(f"snapshots/{snapshot.digest}/")


def test_users_who_arrive_later_are_left_out(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    before = ingest_directory(folder, engine, store).snapshot_uri
    with engine.begin() as connection:
        arrived = pd.DataFrame({"user_id": [999], "arrived_on": [date(2026, 1, 9)], "batch_id": "x"})
        upsert_rows(connection, tables.users, arrived)
        upsert_rows(connection, tables.ratings, pd.DataFrame({"user_id": [999], "item_id": [1], "rating": [7]}))
    assert write_snapshot(engine, store, date(2026, 1, 8)) == before
    after = read_snapshot(store, write_snapshot(engine, store, date(2026, 1, 9)))
    assert after.users[Columns.ArrivedOn].tolist()[-1] == date(2026, 1, 9)
    assert 999 in after.interactions.user_ids


def test_the_digest_does_not_depend_on_the_order_of_rows(
    engine: Engine, store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    first = ingest_directory(folder, engine, store).snapshot_uri
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE otaku.items, otaku.users, otaku.future_users, otaku.quarantine CASCADE"))
    for path in folder.glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *reversed(lines)]))
    assert ingest_directory(folder, engine, store).snapshot_uri == first


def test_the_digest_depends_on_every_table(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    snapshot = read_snapshot(store, ingest_directory(folder, engine, store).snapshot_uri)
    catalog, interactions, users = snapshot.catalog, snapshot.interactions, snapshot.users
    rated = interactions.table
    listed = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 5, 1], "status": "dropped"})
    digests = [
        compute_snapshot_digest(catalog, interactions, users),
        compute_snapshot_digest(Catalog(catalog.items.assign(members=1.0)), interactions, users),
        compute_snapshot_digest(catalog, Interactions(rated.assign(rating=np.int8(1))), users),
        compute_snapshot_digest(catalog, Interactions(rated.iloc[1:]), users),
        compute_snapshot_digest(catalog, interactions, users.assign(arrived_on=date(2026, 1, 5))),
        compute_snapshot_digest(catalog, interactions, users.iloc[1:]),
        compute_snapshot_digest(catalog, interactions, users, WatchStatuses(listed)),
        compute_snapshot_digest(catalog, interactions, users, WatchStatuses(listed.assign(status="planned"))),
        compute_snapshot_digest(catalog, interactions, users, WatchStatuses(listed.iloc[1:])),
    ]
    assert compute_snapshot_digest(catalog, interactions, users, WatchStatuses()) == digests[0]
    backwards = WatchStatuses(listed.iloc[::-1])
    assert compute_snapshot_digest(catalog, interactions, users, backwards) == digests[-3]
    assert len(set(digests)) == len(digests)
    shuffled = Catalog(catalog.items.iloc[::-1]), Interactions(rated.iloc[::-1]), users.iloc[::-1]
    assert compute_snapshot_digest(*shuffled) == snapshot.digest


def test_equal_tables_give_equal_bytes_and_damage_is_repaired(
    engine: Engine, store: ArtifactStore, folder: Path
) -> None:
    uri = ingest_directory(folder, engine, store).snapshot_uri
    key = store.key(uri)
    written = {name: store.read_bytes(name) for name in store.list_keys(key)}
    store.write_bytes(f"{key}ratings.parquet", written[f"{key}ratings.parquet"][:-1])
    with pytest.raises(ArtifactError, match="truncated or altered"):
        read_snapshot(store, uri)
    assert write_snapshot(engine, store, None) == uri
    assert {name: store.read_bytes(name) for name in store.list_keys(key)} == written


def test_a_snapshot_under_a_wrong_name_is_refused(
    engine: Engine, store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    uri = ingest_directory(folder, engine, store).snapshot_uri
    store.read_directory(store.key(uri), tmp_path / "copy")
    other = store.write_directory(f"snapshots/{'0' * 64}", tmp_path / "copy")
    with pytest.raises(ArtifactError, match="holds the content"):
        read_snapshot(store, other)
    (tmp_path / "copy" / "items.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ArtifactError, match="is no snapshot"):
        read_snapshot(store, store.write_directory("snapshots/1", tmp_path / "copy"))


def test_nothing_ingested_is_no_snapshot(engine: Engine, store: ArtifactStore) -> None:
    with pytest.raises(EmptyCatalogError):
        write_snapshot(engine, store, None)
    assert store.list_keys("") == []
