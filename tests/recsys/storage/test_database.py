import threading
from datetime import date

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, Text, func, select, text

from recsys.columns import Columns, ItemColumns
from recsys.exceptions import EmptyCatalogError, ServiceUnavailableError
from recsys.storage import database, tables

ITEMS = pd.DataFrame(
    {
        "item_id": [1, 2],
        "title": ['quote " comma, \n line \\ back', "☆"],
        "title_english": [None, ""],
        "genres": [['A "q"', "B\\c,{}", "NULL", ""], []],
        "aired_from": [date(2001, 2, 3), None],
        "mean_score": [float("nan"), 3.5],
    }
)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    with engine.begin() as connection:
        database.upsert_rows(connection, tables.items, ITEMS)
        users = pd.DataFrame({"user_id": [5, 6], "arrived_on": [None, date(2026, 1, 7)], "batch_id": "x"})
        database.upsert_rows(connection, tables.users, users)
        ratings = pd.DataFrame({"user_id": [5, 5, 6], "item_id": [2, 1, 1], "rating": [3, 4, 10]})
        database.upsert_rows(connection, tables.ratings, ratings)
        taste = pd.DataFrame({"user_id": [5], "n_ratings": [2], "mean_rating": [3.5], "genre_shares": [{"é": 1 / 3}]})
        database.upsert_rows(connection, tables.user_preferences, taste)
    return engine


def test_every_value_survives_the_way_through_copy(filled: Engine) -> None:
    first, second = database.read_catalog(filled).items.to_dict("records")
    assert first[ItemColumns.Title] == ITEMS["title"][0]
    assert first[ItemColumns.Genres] == ITEMS["genres"][0]
    assert (first[ItemColumns.AiredFrom], second[ItemColumns.AiredFrom]) == (date(2001, 2, 3), None)
    assert (first[ItemColumns.TitleEnglish], second[ItemColumns.TitleEnglish]) == (None, "")
    assert np.isnan(first[ItemColumns.MeanScore])
    assert (second[ItemColumns.MeanScore], second[ItemColumns.Genres], second[ItemColumns.Synonyms]) == (3.5, [], [])


def test_upsert_writes_only_what_differs(filled: Engine) -> None:
    changed = ITEMS.assign(title=["new", "☆"])
    with filled.begin() as connection:
        assert database.upsert_rows(connection, tables.items, ITEMS) == 0
        assert database.upsert_rows(connection, tables.items, changed) == 1
        assert database.upsert_rows(connection, tables.users, pd.DataFrame({"user_id": [5, 7], "batch_id": "x"})) == 1
        assert database.upsert_rows(connection, tables.ratings, pd.DataFrame(columns=Columns.Interactions)) == 0
    assert database.read_catalog(filled).title(1) == "new"


def test_ratings_and_users_as_of_a_day(filled: Engine) -> None:
    before, after = date(2026, 1, 6), date(2026, 1, 7)
    assert database.read_ratings(filled, before).table.to_numpy().tolist() == [[5, 1, 4], [5, 2, 3]]
    assert len(database.read_ratings(filled, after)) == len(database.read_ratings(filled, None)) == 3
    assert database.read_users(filled, before)[Columns.User].tolist() == [5]
    assert database.read_users(filled, after)[Columns.ArrivedOn].tolist() == [None, date(2026, 1, 7)]


def test_one_user_by_key(filled: Engine) -> None:
    with filled.connect() as connection:
        assert database.read_history(connection, 5).to_numpy().tolist() == [[1, 4], [2, 3]]
        assert database.read_history(connection, 404).dtypes.tolist() == [np.int64, np.int8]
        assert database.read_preferences(connection, 5) == database.StoredPreferences(2, 3.5, {"é": 1 / 3})
        assert database.read_preferences(connection, 6) is None
        plan = connection.execute(
            text("SET enable_seqscan = off; EXPLAIN SELECT * FROM otaku.ratings WHERE user_id = 5")
        )
        assert "pk_ratings" in str(plan.all())


def test_empty_tables(engine: Engine) -> None:
    assert len(database.read_ratings(engine, None)) == 0
    assert database.read_users(engine, None).empty
    with pytest.raises(EmptyCatalogError, match="ingest"):
        database.read_catalog(engine)


def test_the_lock_is_held_until_the_transaction_ends(engine: Engine) -> None:
    order: list[str] = []

    def second() -> None:
        with engine.begin() as connection, database.advisory_lock(connection, "job"):
            order.append("second")

    thread = threading.Thread(target=second)
    with engine.begin() as connection:
        with database.advisory_lock(connection, "job"):
            thread.start()
        with engine.begin() as other, database.advisory_lock(other, "another job"):
            order.append("another")
        thread.join(timeout=0.3)
        order.append("first")
    thread.join(timeout=90)
    assert order == ["another", "first", "second"]


def test_a_connection_that_the_server_ends_is_reported_as_such(engine: Engine) -> None:
    with engine.connect() as connection:
        backend = connection.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})
        with pytest.raises(ServiceUnavailableError):
            connection.execute(text("SELECT 1"))


def test_a_server_that_goes_away_during_copy_is_reported_as_such(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 1000"))
        with pytest.raises(ServiceUnavailableError, match="stopped answering"):
            database.read_frame(connection, select(func.pg_sleep(60).cast(Text)))


def test_statements_do_not_run_for_ever(database_url: str) -> None:
    engine = database.create_database_engine(database_url, statement_timeout=1)
    with engine.connect() as connection, pytest.raises(Exception, match="statement timeout"):
        connection.execute(text("SELECT pg_sleep(60)"))
    engine.dispose()
