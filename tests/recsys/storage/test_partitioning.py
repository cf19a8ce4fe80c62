"""Tables in partitions: the same rows, the same constraints, and everything that reads and writes them goes on."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from recsys.exceptions import ConfigurationError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_ratings, read_user_ids
from recsys.storage.ingestion import ingest_directory
from recsys.storage.migration import migrate
from recsys.storage.partitioning import partition_tables, read_partition_counts
from recsys.storage.tables import SCHEMA, ratings, watch_statuses
from recsys.storage.users import delete_user, read_user, read_users, register_user
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus

pytestmark = pytest.mark.local
N = 8


@pytest.fixture
def partitioned(engine: Engine, folder: Path, store: ArtifactStore) -> Engine:
    """Forty users with ratings, one of whom has a list; to be partitioned."""
    ingest_directory(folder, engine, store, hold_back=0.0)
    with engine.begin() as connection:
        store_list(connection, int(read_user_ids(connection)[0]), {1: 9}, {5: WatchStatus.Planned})
    return engine


def test_everything_is_read_as_before(partitioned: Engine) -> None:
    with partitioned.connect() as connection:
        user_ids = read_user_ids(connection).tolist()
        before = read_ratings(connection, None).table, read_users(connection, user_ids)
        n_statuses = connection.scalar(select(func.count()).select_from(watch_statuses))
    moved = partition_tables(partitioned, N)
    assert moved == {"ratings": len(before[0]), "watch_statuses": n_statuses}
    with partitioned.connect() as connection:
        assert read_partition_counts(connection) == {"ratings": N, "watch_statuses": N}
        assert read_ratings(connection, None).table.equals(before[0])
        assert read_users(connection, user_ids) == before[1]
    assert partition_tables(partitioned, N) == {}
    with pytest.raises(ConfigurationError, match="ratings has 8 partitions already"):
        partition_tables(partitioned, 2 * N)


def test_a_user_is_looked_up_in_one_partition(partitioned: Engine) -> None:
    partition_tables(partitioned, N)
    with partitioned.connect() as connection:
        plan = "\n".join(connection.scalars(text("EXPLAIN SELECT * FROM otaku.ratings WHERE user_id = 3")))
        sizes = connection.execute(text("SELECT tableoid, count(*) FROM otaku.ratings GROUP BY 1")).all()
    assert sum(f"ratings_p000{number}" in plan for number in range(N)) == 1
    assert len(sizes) == N


def test_constraints_hold_and_rows_are_written(partitioned: Engine) -> None:
    partition_tables(partitioned, N)
    with partitioned.begin() as connection:
        user_id = register_user(connection, {1: 8, 5: 3}, date(2026, 1, 5))
        store_list(connection, user_id, {12: 2}, {9: WatchStatus.Dropped})
        stored = read_user(connection, user_id)
        assert stored is not None
        assert dict(stored.ratings) == {1: 8, 5: 3, 12: 2}
        assert dict(stored.statuses) == {9: WatchStatus.Dropped}
    wrong = ({"rating": 11}, {"user_id": -1}, {"item_id": -1}, {"source": "hearsay"}, {"item_id": 1})
    for values in wrong:
        row = {"user_id": user_id, "item_id": 9, "rating": 5} | values
        with pytest.raises(IntegrityError), partitioned.begin() as connection:
            connection.execute(insert(ratings).values(row))
    with partitioned.begin() as connection:
        assert delete_user(connection, user_id)
        assert not connection.scalar(select(func.count()).select_from(ratings).where(ratings.c.user_id == user_id))


def describe(engine: Engine, table: str) -> list[Any]:
    found = inspect(engine)
    columns = [{**column, "type": str(column["type"])} for column in found.get_columns(table, SCHEMA)]
    checks = sorted((check["name"], check["sqltext"]) for check in found.get_check_constraints(table, SCHEMA))
    keys = sorted(found.get_foreign_keys(table, SCHEMA), key=lambda key: str(key["name"]))
    return [columns, found.get_pk_constraint(table, SCHEMA), keys, checks]


def test_the_tables_are_those_that_migrations_expect(partitioned: Engine) -> None:
    names = [ratings.name, watch_statuses.name]
    before = [describe(partitioned, name) for name in names]
    partition_tables(partitioned, N)
    assert [describe(partitioned, name) for name in names] == before
    assert migrate(partitioned) == []


def test_an_interrupted_move_leaves_everything(partitioned: Engine) -> None:
    with partitioned.begin() as connection:
        connection.execute(text("CREATE TABLE otaku.watch_statuses_p0003 ()"))
    with pytest.raises(Exception, match="watch_statuses_p0003"):
        partition_tables(partitioned, N)
    with partitioned.connect() as connection:
        assert read_partition_counts(connection) == {"ratings": 0, "watch_statuses": 0}
    with pytest.raises(ConfigurationError, match="choose 2 to 1024"):
        partition_tables(partitioned, 1)
