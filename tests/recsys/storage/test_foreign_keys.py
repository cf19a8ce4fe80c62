from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from recsys.storage import foreign_keys
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.foreign_keys import check_at_once
from recsys.storage.ingestion import ingest_directory
from recsys.storage.partitioning import partition_tables
from recsys.storage.tables import items, ratings, users, watch_statuses

pytestmark = pytest.mark.local
LOADED = (ratings, watch_statuses)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """One user and one title."""
    with engine.begin() as connection:
        connection.execute(insert(items), {"item_id": 1, "title": "Monster"})
        connection.execute(insert(users), {"user_id": 1, "batch_id": "test"})
    return engine


def read_keys(connection: Connection) -> list[tuple[str, str, bool]]:
    """Table, definition and validity of all foreign keys, also of partitions."""
    query = text(
        "SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        "WHERE contype = 'f' ORDER BY 1, 2"
    )
    return [(table, definition, valid) for table, definition, valid in connection.execute(query)]


def rate(connection: Connection, user_id: int = 1, item_id: int = 1) -> None:
    connection.execute(insert(ratings), {"user_id": user_id, "item_id": item_id, "rating": 7, "source": "file"})


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_first_load_leaves_the_keys_as_they_were(filled: Engine, *, partitioned: bool) -> None:
    if partitioned:
        partition_tables(filled, 4)
    with filled.connect() as connection:
        before = read_keys(connection)
    with filled.begin() as connection, check_at_once(connection, LOADED) as at_once:
        assert at_once
        during = read_keys(connection)
        rate(connection)
    with filled.connect() as connection:
        assert read_keys(connection) == before
        assert len(during) < len(before)
        with pytest.raises(IntegrityError, match="fk_ratings_item_id"):
            rate(connection, item_id=2)


@pytest.mark.parametrize(("user_id", "item_id", "key"), [(2, 1, "fk_ratings_user_id"), (1, 2, "fk_ratings_item_id")])
def test_a_row_that_refers_to_nothing_is_found_when_the_load_ends(
    filled: Engine, user_id: int, item_id: int, key: str
) -> None:
    with filled.connect() as connection:
        before = read_keys(connection)
    with (
        pytest.raises(IntegrityError, match=key),
        filled.begin() as connection,
        check_at_once(connection, LOADED),
    ):
        rate(connection, user_id, item_id)
    with filled.connect() as connection:
        assert read_keys(connection) == before
        assert connection.execute(text("SELECT count(*) FROM otaku.ratings")).scalar_one() == 0


def test_a_table_that_holds_rows_is_checked_row_by_row(filled: Engine) -> None:
    with filled.begin() as connection:
        rate(connection)
    with filled.begin() as connection, check_at_once(connection, LOADED) as at_once:
        assert not at_once


def test_a_table_in_use_is_checked_row_by_row(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_keys, "LOCK_TIMEOUT", "50ms")
    with filled.begin() as reader:
        reader.execute(text("SELECT FROM otaku.ratings"))
        with filled.begin() as connection, check_at_once(connection, LOADED) as at_once:
            assert not at_once
            assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "0"
            rate(connection)
    with filled.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM otaku.ratings")).scalar_one() == 1


def test_an_error_of_the_load_itself_is_not_swallowed(filled: Engine) -> None:
    with (
        pytest.raises(DBAPIError, match="rating_range"),
        filled.begin() as connection,
        check_at_once(connection, LOADED),
    ):
        connection.execute(insert(ratings), {"user_id": 1, "item_id": 1, "rating": 11, "source": "file"})


def test_a_role_that_does_not_own_the_table_has_its_rows_checked_one_by_one(filled: Engine) -> None:
    with filled.connect() as connection:
        connection.execute(text("CREATE ROLE loader"))
        connection.execute(text("GRANT USAGE ON SCHEMA otaku TO loader"))
        connection.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA otaku TO loader"))
        connection.execute(text("SET LOCAL ROLE loader"))
        with check_at_once(connection, LOADED) as at_once:
            assert not at_once
            rate(connection)
        connection.rollback()


def test_a_first_ingest_checks_at_once(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    with engine.connect() as connection:
        before = read_keys(connection)
    started: dict[str, bool] = {}
    locked = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'otaku.ratings'::regclass "
        "AND mode = 'AccessExclusiveLock' AND granted)"
    )

    def look(stage: str, done: float, _total: float) -> None:
        """Note which stages begin while the tables are locked."""
        if not done:
            with engine.connect() as other:
                started[stage] = other.execute(locked).scalar_one()

    for expected in (True, False):
        ingest_directory(folder, engine, store, on_progress=look)
        assert started["write ratings"] is expected
    with engine.connect() as connection:
        assert read_keys(connection) == before
