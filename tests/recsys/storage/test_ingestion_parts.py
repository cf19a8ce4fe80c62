"""Dry runs, catalogs without ratings and ratings without a catalog, on real tables and buckets."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select, table, text

from recsys.exceptions import SourceLayoutError
from recsys.storage import tables
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_catalog
from recsys.storage.ingestion import ingest_directory
from recsys.storage.snapshots import read_snapshot


def _read_everything(engine: Engine, store: ArtifactStore) -> dict[str, Any]:
    """All rows of all tables of the database, and all keys of the bucket."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names(schema=tables.SCHEMA)
        content: dict[str, Any] = {
            name: sorted(
                map(repr, connection.execute(select(text("*")).select_from(table(name, schema=tables.SCHEMA))))
            )
            for name in names
        }
    content["keys"] = store.list_keys("")
    return content


def test_a_dry_run_says_what_an_ingest_does_and_writes_nothing(
    engine: Engine, store: ArtifactStore, folder: Path
) -> None:
    before = _read_everything(engine, store)
    dry = ingest_directory(folder, engine, store, dry_run=True)
    assert _read_everything(engine, store) == before
    done = ingest_directory(folder, engine, store)
    assert (dry.written, dry.files, dry.n_users_held_back) == (done.written, done.files, done.n_users_held_back)
    assert (dry.dry_run, dry.snapshot_uri, done.dry_run) == (True, "", False)
    assert done.written["ratings"] > 0


def test_a_dry_run_over_a_filled_database_counts_the_changes(
    engine: Engine, store: ArtifactStore, folder: Path
) -> None:
    ingest_directory(folder, engine, store, hold_back=0.0)
    path = folder / "rating_complete.csv"
    path.write_text(path.read_text().replace("\n7,5,3\n", "\n7,5,10\n") + "900,1,7\n")
    before = _read_everything(engine, store)
    dry = ingest_directory(folder, engine, store, hold_back=0.0, dry_run=True)
    assert dry.written == {
        **dict.fromkeys(("items", "watch_statuses", "future_users"), 0),
        "users": 1,
        "ratings": 2,
        "quarantine": 1,
        "user_preferences": 2,
    }
    assert _read_everything(engine, store) == before


def test_a_dry_run_needs_no_migrated_database(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {tables.SCHEMA} CASCADE"))
    dry = ingest_directory(folder, engine, store, dry_run=True)
    assert dry.written["items"] == 4
    with engine.connect() as connection:
        assert tables.SCHEMA not in inspect(connection).get_schema_names()
    assert store.list_keys("") == []


def test_a_catalog_alone_adds_and_changes_titles_and_no_rating(
    engine: Engine, store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    ingest_directory(folder, engine, store, hold_back=0.0)
    before = _read_everything(engine, store)
    season = tmp_path / "autumn.csv"
    season.write_text("mal_id,title,genres,synopsis\n1,Cowboy Bebop!,Space,\n60001,New,action,It begins.\n")
    with pytest.raises(SourceLayoutError, match="is no folder"):
        ingest_directory(season, engine, store)
    report = ingest_directory(season, engine, store, partial=True)
    assert (report.n_items, report.n_users_known, report.written["items"], report.written["ratings"]) == (2, 0, 2, 0)
    items = read_catalog(engine).items.set_index("item_id")
    assert (items.loc[60001, "title"], items.loc[60001, "genres"]) == ("New", ["Action"])
    assert (items.loc[1, "title"], items.loc[1, "episodes"]) == ("Cowboy Bebop!", 26)
    after = _read_everything(engine, store)
    unchanged = ("ratings", "users", "future_users", "quarantine")
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert len(read_snapshot(store, report.snapshot_uri).interactions) == 120
    assert set(ingest_directory(season, engine, store, partial=True).written.values()) == {0}


def test_a_catalog_alone_fills_an_empty_database(engine: Engine, store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "anime.csv").write_text("anime_id,name,genre\n1,A,Action\n2,B,Drama\n")
    report = ingest_directory(tmp_path, engine, store, partial=True)
    assert report.written == {**dict.fromkeys(report.written, 0), "items": 2}
    assert len(read_snapshot(store, report.snapshot_uri).catalog) == 2


def test_lists_alone_are_ratings_of_stored_titles(
    engine: Engine, store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    lists = tmp_path / "lists.csv"
    lists.write_text("username,anime_id,status,score\nAnn,1,completed,9\nAnn,5,plan_to_watch,0\nBob,77,completed,8\n")
    with pytest.raises(SourceLayoutError, match="without a catalog"):
        ingest_directory(lists, engine, store, partial=True)
    ingest_directory(folder, engine, store, hold_back=0.0)
    report = ingest_directory(lists, engine, store, hold_back=0.0, partial=True)
    assert (report.layout, report.n_items, report.n_users_known) == ("kaggle-2025", 0, 1)
    (file,) = report.files
    assert (file.ingested, file.unrated, file.statuses) == (1, 1, {"planned": 1})
    assert file.quarantined == {"unknown item": 1}
    assert "ann" not in repr(_read_everything(engine, store)).casefold().replace("planned", "")
    with engine.connect() as connection:
        user_ids = connection.scalars(select(tables.users.c.user_id)).all()
    assert sum(user_id >= 2**42 for user_id in user_ids) == 1


def test_the_layout_can_be_named(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    (folder / "animelist.csv").write_text(
        "user_id,anime_id,rating,watching_status,watched_episodes\n7,1,9,2,26\n7,5,0,6,0\n8,12,4,4,2\n"
    )
    assert ingest_directory(folder, engine, store, dry_run=True).ignored == ("animelist.csv",)
    report = ingest_directory(folder, engine, store, hold_back=0.0, layout="kaggle-2020-lists")
    assert (report.layout, report.written["ratings"], report.files[-1].unrated) == ("kaggle-2020-lists", 2, 1)
