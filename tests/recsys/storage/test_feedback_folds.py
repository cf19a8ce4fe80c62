"""Feedback becomes ratings once, wholly or not at all, whoever writes or dies meanwhile."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, func, select

from app.stores.database import Database
from recsys.data.preferences import build_preference_rows, compute_preferences
from recsys.exceptions import ServiceUnavailableError
from recsys.storage import feedback_folds as feedback_folds_module
from recsys.storage.database import (
    create_database_engine,
    read_catalog,
    read_history,
    read_preferences,
    read_ratings,
    upsert_rows,
)
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.feedback_folds import fold_feedback
from recsys.storage.tables import feedback, feedback_folds, items, ratings, user_preferences, users
from recsys.storage.users import read_user, refresh_preferences
from tests.factories import tiny_world
from tests.fork_server import Program

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[3]
CATALOG, INTERACTIONS = tiny_world()
DAY = date(2026, 2, 1)

# Folds up to the moment before the preferences are written, says so, and waits there to be killed.
STOP_HALF_WAY = """
import sys, time
from recsys.storage import feedback_folds
from retrain_model.feedback import __main__
def stop(*_):
    print("half-way", flush=True)
    time.sleep(60)
feedback_folds.refresh_preferences = stop
sys.exit(__main__.main(["--day", "2026-02-01"]))
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        upsert_rows(connection, items, CATALOG.items)
        upsert_rows(connection, users, pd.DataFrame({"user_id": INTERACTIONS.user_ids, "batch_id": "test"}))
        upsert_rows(connection, ratings, INTERACTIONS.table)
        refresh_preferences(connection, INTERACTIONS.user_ids.tolist())
    yield engine
    engine.dispose()


def give(engine: Engine, *events: tuple[str, int, int, str, int | None]) -> None:
    rows = [FeedbackEvent(*event) for event in events]  # type: ignore[arg-type]
    with engine.begin() as connection:
        assert write_feedback(connection, rows).n_written == len(rows)


def read_all(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    tables = (users, ratings, user_preferences, feedback_folds, feedback)
    found = {}
    with engine.connect() as connection:
        for table in tables:
            columns = [column for column in table.c if column.name not in {"created_at", "given_at"}]
            rows = connection.execute(select(*columns).order_by(*table.primary_key))
            found[table.name] = [tuple(row) for row in rows]
    return found


def history_of(engine: Engine, user_id: int) -> dict[int, int]:
    with engine.connect() as connection:
        return dict(read_history(connection, user_id).itertuples(index=False, name=None))


def test_the_last_rating_holds_and_other_kinds_change_nothing(engine: Engine) -> None:
    known = INTERACTIONS.table.iloc[0]
    new = next(int(item_id) for item_id in CATALOG.item_ids if item_id not in history_of(engine, 7))
    give(
        engine,
        ("a", 7, new, "rating", 3),
        ("b", 7, new, "rating", 8),
        ("c", int(known["user_id"]), int(known["item_id"]), "rating", 1),
        ("d", 7, 5114, "dismissal", None),
        ("e", 7, 19, "click", None),
        ("f", 8, 19, "impression", None),
    )
    before = history_of(engine, 7)
    report = fold_feedback(engine, DAY)
    assert (report.n_feedback, report.n_ratings) == (6, 2)
    assert history_of(engine, 7) == before | {new: 8}
    assert history_of(engine, int(known["user_id"]))[int(known["item_id"])] == 1
    with engine.connect() as connection:
        user = read_user(connection, 7)
        stored = read_preferences(connection, 7)
        expected = build_preference_rows(compute_preferences(read_ratings(connection, None), read_catalog(connection)))
    assert user is not None
    assert user.dismissed_item_ids == (5114,)
    own = expected[expected["user_id"] == 7].iloc[0]
    assert stored is not None
    assert (stored.n_ratings, stored.mean_rating, stored.genre_shares) == (
        own["n_ratings"],
        own["mean_rating"],
        own["genre_shares"],
    )


def test_again_finds_nothing_new_and_a_dry_run_writes_nothing(engine: Engine) -> None:
    give(engine, ("a", 7, 440, "rating", 3))
    before = read_all(engine)
    assert fold_feedback(engine, DAY, dry_run=True).n_ratings == 1
    assert read_all(engine) == before
    assert fold_feedback(engine, DAY).n_ratings == 1
    after = read_all(engine)
    for day in (DAY, date(2026, 1, 5)):
        assert fold_feedback(engine, day).n_feedback == 0
    assert read_all(engine) == after

    give(engine, ("b", 7, 440, "rating", 9), ("c", 7, 5114, "click", None))
    assert fold_feedback(engine, DAY).n_feedback == 2
    assert history_of(engine, 7)[440] == 9
    assert [row[0] for row in read_all(engine)["feedback_folds"]] == [1, 3]


def test_no_feedback_at_all(engine: Engine) -> None:
    before = read_all(engine)
    report = fold_feedback(engine, DAY)
    assert (report.n_feedback, report.last_feedback_id) == (0, 0)
    assert read_all(engine) == before


def test_a_fold_waits_for_a_late_commit_and_lets_the_service_write_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that commits late has a smaller id than one that is there already; the fold must not miss it."""
    waits = threading.Event()

    def pause(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    monkeypatch.setattr(feedback_folds_module, "_pause", pause, raising=False)
    late = {"idempotency_key": "late", "user_id": 7, "item_id": 440, "kind": "rating", "rating": 9}
    meanwhile = FeedbackEvent("meanwhile", 9, 440, "rating", 4)
    with engine.connect() as writer, ThreadPoolExecutor(1) as pool, Database(engine, read_seconds=20) as service:
        transaction = writer.begin()
        writer.execute(feedback.insert().values(late))
        give(engine, ("early", 8, 440, "rating", 2))
        folding = pool.submit(fold_feedback, engine, DAY)
        try:
            waits.wait(timeout=20)
            written = asyncio.run(service.write(lambda connection: write_feedback(connection, [meanwhile])))
            assert not folding.done()
        finally:
            transaction.commit()
        assert folding.result(timeout=120).n_feedback == 2
    assert written.n_written == 1
    assert history_of(engine, 7)[440] == 9
    assert fold_feedback(engine, DAY).n_feedback == 1


def test_a_writer_that_does_not_end_is_reported(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_folds_module, "WAIT_SECONDS", 0.0)
    late = {"idempotency_key": "late", "user_id": 7, "item_id": 440, "kind": "rating", "rating": 9}
    give(engine, ("early", 8, 440, "rating", 2))
    with engine.connect() as writer:
        writer.execute(feedback.insert().values(late))
        with pytest.raises(ServiceUnavailableError, match=r"write feedback \(1\) did not end"):
            fold_feedback(engine, DAY)
        writer.rollback()
    assert fold_feedback(engine, DAY).n_feedback == 1


def test_two_at_once_have_one_effect(engine: Engine) -> None:
    give(engine, *((f"k{n}", 1 + n, 440, "rating", 1 + n % 10) for n in range(20)))
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: fold_feedback(engine, DAY), range(4)))
    assert sorted(report.n_feedback for report in reports) == [0, 0, 0, 20]
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(feedback_folds)) == 1


def test_killed_half_way_and_run_again_is_as_if_undisturbed(engine: Engine, database_url: str) -> None:
    give(engine, ("a", 7, 440, "rating", 3))
    before = read_all(engine)
    environment = os.environ | {"OTAKU_DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
    with Program(["-c", STOP_HALF_WAY], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half-way\n"
        process.send_signal(signal.SIGKILL)
    assert read_all(engine) == before
    assert fold_feedback(engine, DAY).n_ratings == 1
    assert history_of(engine, 7)[440] == 3
