"""A small world in PostgreSQL: users known, users waiting, and a look at everything that arrivals may touch."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest
from sqlalchemy import Engine, delete, insert, select

from recsys.storage.database import create_database_engine
from recsys.storage.tables import arrivals, future_users, items, ratings, user_preferences, users, watch_statuses

N_ITEMS, N_KNOWN, N_WAITING = 60, 30, 25
GENRES = ["Action", "Comedy", "Drama", "Sci-Fi"]
Tables: TypeAlias = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """30 known users (ids 1..30) and 25 in the queue (ids 1025..1001, backwards), of two camps, on 60 titles."""
    engine = create_database_engine(database_url)
    rng = np.random.default_rng(11)

    def draw_ratings(camp: int) -> list[tuple[int, int]]:
        weights = np.where(np.arange(N_ITEMS) % 2 == camp, 9.0, 1.0)
        chosen = rng.choice(N_ITEMS, size=rng.integers(4, 13), replace=False, p=weights / weights.sum())
        return [(100 + int(item), int(rng.integers(5, 11))) for item in chosen]

    titles = [
        {"item_id": 100 + n, "title": f"Title {n}", "genres": GENRES[n % 3 : n % 3 + n % 4]} for n in range(N_ITEMS)
    ]
    known = [{"user_id": user_id, "batch_id": "ingest"} for user_id in range(1, N_KNOWN + 1)]
    rated = [
        {"user_id": user["user_id"], "item_id": item, "rating": rating}
        for camp, user in enumerate(known)
        for item, rating in draw_ratings(camp % 2)
    ]
    waiting = []
    for position in range(N_WAITING):
        item_ids, values = zip(*draw_ratings(position % 2), strict=True)
        user = {"user_id": 1000 + N_WAITING - position, "position": position}
        waiting.append(user | {"item_ids": list(item_ids), "ratings": list(values)})
    with engine.begin() as connection:
        for table, rows in ((items, titles), (users, known), (ratings, rated), (future_users, waiting)):
            connection.execute(insert(table), rows)
    yield engine
    engine.dispose()


@pytest.fixture
def read_tables(engine: Engine) -> Callable[[], Tables]:
    """Read every row of every table that arrivals may touch, without the times at which rows were written."""

    def read() -> Tables:
        content: Tables = {}
        with engine.connect() as connection:
            for table in (users, ratings, watch_statuses, user_preferences, arrivals, future_users):
                columns = [
                    column for column in table.columns if column.name not in {"created_at", "given_at", "source"}
                ]
                query = select(*columns).order_by(*table.primary_key)
                content[table.name] = [tuple(row) for row in connection.execute(query)]
        return content

    return read


@pytest.fixture
def forget_arrivals(engine: Engine) -> Callable[[], None]:
    """Bring the tables back to where no day has arrived."""

    def forget() -> None:
        with engine.begin() as connection:
            connection.execute(delete(users).where(users.c.arrived_on.is_not(None)))
            connection.execute(delete(arrivals))

    return forget
