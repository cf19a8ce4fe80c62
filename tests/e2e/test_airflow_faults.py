"""What an operator meets: S3 away, a gate that says no, a task twice at once, everything again."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select, text, update

from otaku.platform import object_store
from recsys.connections import open_store
from recsys.data.splits import TRAIN, assign_groups
from recsys.storage.database import advisory_lock
from recsys.storage.ingestion import ingest_directory
from recsys.storage.tables import drift_reports, ratings, users
from tests.e2e.conftest import World
from tests.retrain_model.worlds import Traces, read_traces, write_tiny_world

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]

FIRST, SECOND = date(2026, 1, 11), date(2026, 1, 18)
WEEK = timedelta(days=7)
STEPS = {"snapshot", "embed_text", "fit_retrieval", "train_ranker", "evaluate", "gate"}


@pytest.fixture(scope="module")
def world(open_airflow: Callable[..., World], tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("world") / "files"
    write_tiny_world(folder)
    world = open_airflow()
    ingest_directory(folder, world.engine, open_store(world.settings), hold_back=0.2)
    return world


@pytest.fixture(scope="module")
def promoted(world: World) -> World:
    """The first week retrained while S3 was away at first."""
    client = world.client
    world.kill_part(object_store.NAME)
    backfill = client.backfill("retrain_model", FIRST, FIRST, period=WEEK)
    world.wait_for_task("retrain_model", FIRST, "snapshot", {"up_for_retry"})
    world.platform.bring_up()
    client.wait_for_backfill(backfill, timeout=900)
    return world


def retrain(world: World, day: date, *, again: bool = False) -> None:
    backfill = world.client.backfill("retrain_model", day, day, period=WEEK, again=again)
    world.client.wait_for_backfill(backfill, timeout=900)


def test_s3_away_is_one_clear_line_a_retry_and_green_once_it_is_back(promoted: World) -> None:
    log = promoted.log_of("retrain_model", FIRST, "snapshot", attempt=1)
    (line,) = [line for line in log if line.startswith("retrain_model.snapshot failed for 2026-01-11")]
    assert "ServiceUnavailableError: S3 does not answer for s3://otaku/" in line
    assert promoted.states("retrain_model", FIRST) == dict.fromkeys({*STEPS, "promote"}, "success") | {
        "approve": "skipped",
        "keep": "skipped",
    }
    run_id = promoted.client.read_runs("retrain_model")[FIRST]["dag_run_id"]
    assert promoted.client.read_tasks("retrain_model", run_id)["snapshot"]["try_number"] > 1


def test_a_no_of_the_gate_skips_promote_and_says_why(promoted: World) -> None:
    forget_what_training_users_like(promoted.engine)
    retrain(promoted, SECOND)
    assert promoted.states("retrain_model", SECOND) == dict.fromkeys({*STEPS, "keep"}, "success") | {
        "approve": "skipped",
        "promote": "skipped",
    }
    entry = read_traces(promoted.settings).ledger[-1]
    assert (entry[0][:10], entry[1]) == (SECOND.isoformat(), "keep")
    assert f"the gate decided keep: {entry[2]}" in promoted.log_of("retrain_model", SECOND, "gate")

    # The same weeks again, and one task cleared: nothing is added, nothing moves.
    before: Traces = read_traces(promoted.settings)
    for day in (FIRST, SECOND):
        retrain(promoted, day, again=True)
    run_id = promoted.client.read_runs("retrain_model")[SECOND]["dag_run_id"]
    promoted.client.clear("retrain_model", run_id, "train_ranker")
    assert promoted.client.wait_for_run("retrain_model", SECOND, timeout=600) == "success"
    assert read_traces(promoted.settings) == before


def forget_what_training_users_like(engine: Engine) -> None:
    """Make the ratings of training users worthless, so that no challenger can be as good as the champion."""
    with engine.begin() as connection:
        ids = np.array(connection.scalars(select(users.c.user_id)).all())
        training = ids[assign_groups(ids) == TRAIN].tolist()
        noise = text("1 + (abs(hashint8(user_id * 1000003 + item_id)) % 10)")
        connection.execute(update(ratings).where(ratings.c.user_id.in_(training)).values(rating=noise))


def test_a_task_twice_at_once_has_one_effect(world: World, read_rows: Callable[..., Any]) -> None:
    """Both stand before the lock of arrivals at the same time; the scheduler's, and one started by hand."""
    day = date(2026, 1, 7)
    # A run by hand concerns the last interval that is complete: until 21:50 of the day before.
    logical_date = f"{day + timedelta(days=1)}T01:00:00+00:00"
    command = [sys.executable, "-m", "airflow", "tasks", "test", "add_new_users", "add_cohort", logical_date]
    waiting = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
        "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    with world.engine.connect() as connection, connection.begin(), advisory_lock(connection, "arrivals"):
        world.client.backfill("add_new_users", day, day)
        wait_until(lambda: connection.scalar(waiting) == 1)
        by_hand = subprocess.Popen(
            command, env=world.airflow_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        wait_until(lambda: connection.scalar(waiting) == 2 or by_hand.poll() is not None)
    said, _ = by_hand.communicate(timeout=300)
    assert by_hand.returncode == 0, said[-3000:]
    assert world.client.wait_for_run("add_new_users", day, timeout=300) == "success"
    (row,) = [row for row in read_rows(world.engine, day)["arrivals"] if row[0] == day]
    arrived = [row for row in read_rows(world.engine, day)["users"] if row[1] == day]
    assert len(arrived) == row[1] > 0


def wait_until(condition: Callable[[], bool], *, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_drift_is_measured_once_a_day(promoted: World) -> None:
    day = date(2026, 1, 12)
    promoted.client.wait_for_backfill(promoted.client.backfill("monitor_drift", day, day), timeout=300)
    assert promoted.states("monitor_drift", day) == {"measure": "success", "request_retraining": "skipped"}
    with promoted.engine.connect() as connection:
        row = connection.execute(select(drift_reports).where(drift_reports.c.day == day)).one()
    assert any(row.reason in line for line in promoted.log_of("monitor_drift", day, "request_retraining"))
    again = promoted.client.backfill("monitor_drift", day, day, again=True)
    promoted.client.wait_for_backfill(again, timeout=300)
    with promoted.engine.connect() as connection:
        assert connection.execute(select(drift_reports).where(drift_reports.c.day == day)).one() == row
