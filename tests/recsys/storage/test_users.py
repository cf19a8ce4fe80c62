from collections.abc import Iterator
from datetime import date
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from recsys.data.preferences import build_preference_rows, compute_preferences
from recsys.storage.database import create_database_engine, read_preferences, upsert_rows
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.tables import feedback, future_users, items, ratings, user_preferences, users, watch_statuses
from recsys.storage.users import (
    delete_user,
    find_known_items,
    read_user,
    refresh_preferences,
    register_user,
)
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus
from tests.factories import tiny_world

pytestmark = pytest.mark.local
CATALOG, INTERACTIONS = tiny_world()
DAY = date(2026, 2, 1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        upsert_rows(connection, items, CATALOG.items)
        upsert_rows(connection, users, pd.DataFrame({"user_id": INTERACTIONS.user_ids, "batch_id": "test"}))
        upsert_rows(connection, ratings, INTERACTIONS.table)
    yield engine
    engine.dispose()


def count(connection: Connection, user_id: int) -> dict[str, int]:
    tables = (users, ratings, watch_statuses, user_preferences, feedback, future_users)
    return {
        table.name: connection.scalars(select(func.count()).where(table.c.user_id == user_id)).one() for table in tables
    }


def event(key: str, **values: Any) -> FeedbackEvent:
    return FeedbackEvent(**{"idempotency_key": key, "user_id": 7, "item_id": 1, "kind": "click", **values})


def test_a_user_registers_with_ratings_and_the_preferences_that_a_job_would_compute(engine: Engine) -> None:
    with engine.begin() as connection:
        first = register_user(connection, {1: 9, 440: 3}, DAY)
        second = register_user(connection, {}, DAY)
    with engine.connect() as connection:
        user, nobody = read_user(connection, first), read_user(connection, second)
        stored = read_preferences(connection, first)

    assert (first, second) == (2 * 10**12, 2 * 10**12 + 1)
    assert user is not None
    assert user.ratings == {1: 9, 440: 3}
    assert user.arrived_on == DAY
    assert user.genre_shares == {"Action": 0.5, "Drama": 0.5, "Romance": 0.5, "Space": 0.5}
    assert stored is not None
    assert (stored.n_ratings, stored.mean_rating) == (2, 6.0)
    assert nobody is not None
    assert (nobody.ratings, nobody.genre_shares, nobody.dismissed_item_ids) == ({}, {}, ())


def test_a_registration_that_fails_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(IntegrityError), engine.begin() as connection:
        register_user(connection, {1: 9, 123_456_789: 5}, DAY)
    with engine.connect() as connection:
        assert count(connection, 2 * 10**12)["users"] == 0
        assert find_known_items(connection, [1, 123_456_789]) == {1}


def test_preferences_are_refreshed_to_what_all_at_once_would_give(engine: Engine) -> None:
    everybody = INTERACTIONS.user_ids.tolist()
    expected = build_preference_rows(compute_preferences(INTERACTIONS, CATALOG))
    with engine.begin() as connection:
        assert refresh_preferences(connection, everybody) == len(everybody)
        assert refresh_preferences(connection, everybody) == 0
        stored = [read_preferences(connection, user_id) for user_id in everybody]
        assert refresh_preferences(connection, [999_999]) == 0

    assert [row.genre_shares for row in stored if row] == expected["genre_shares"].tolist()


def test_opinions_change_the_user_at_once_and_the_last_rating_counts(engine: Engine) -> None:
    with engine.begin() as connection:
        before = read_user(connection, 7)
        batch = [
            event("a", kind="rating", rating=2, item_id=5114),
            event("b", kind="rating", rating=10, item_id=5114),
            event("c", kind="dismissal", item_id=440),
            event("d", kind="impression", item_id=19, rank=1, propensity=0.5, model_version=3),
        ]
        write_feedback(connection, batch)
        after = read_user(connection, 7)

    assert before is not None
    assert after is not None
    assert after.ratings == {**before.ratings, 5114: 10}
    assert list(after.ratings) == sorted(after.ratings)
    assert (before.dismissed_item_ids, after.dismissed_item_ids) == ((), (440,))


def test_an_event_counts_once_however_often_it_comes(engine: Engine) -> None:
    with engine.begin() as connection:
        first = write_feedback(connection, [event("a"), event("b"), event("a")])
        again = write_feedback(connection, [event("a"), event("c")])
        rows = connection.execute(select(feedback.c.idempotency_key).order_by(feedback.c.idempotency_key)).scalars()
        assert list(rows) == ["a", "b", "c"]

    assert (first.n_written, first.n_known, first.unknown) == (2, 1, ())
    assert (again.n_written, again.n_known) == (1, 1)


def test_events_of_nobody_or_of_no_title_are_named_and_left_out(engine: Engine) -> None:
    with engine.begin() as connection:
        report = write_feedback(connection, [event("a"), event("b", user_id=10**9), event("c", item_id=123_456_789)])

    assert report.n_written == 1
    assert sorted(report.unknown) == ["b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "rating"}, {"rating": 5}, {"kind": "rating", "rating": 11}, {"rank": 0}, {"propensity": 1.5}],
)
def test_the_table_refuses_what_makes_no_sense(engine: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), engine.begin() as connection:
        write_feedback(connection, [event("a", **wrong)])


def test_all_traces_of_a_user_go_and_nobody_elses(engine: Engine) -> None:
    with engine.begin() as connection:
        refresh_preferences(connection, [7, 8])
        write_feedback(connection, [event("a"), event("b", user_id=8)])
        for user_id in (7, 8):
            store_list(connection, user_id, {}, {19: WatchStatus.Dropped})
        waiting = {"position": 1, "item_ids": [1], "ratings": [5]}
        connection.execute(insert(future_users).values(user_id=7, **waiting))
        connection.execute(insert(future_users).values(user_id=500, **waiting | {"position": 2}))
        others = count(connection, 8)

        assert delete_user(connection, 7)
        assert delete_user(connection, 500)
        assert not delete_user(connection, 7)

        assert not any(count(connection, 7).values())
        assert not any(count(connection, 500).values())
        assert count(connection, 8) == others
        assert read_user(connection, 7) is None
