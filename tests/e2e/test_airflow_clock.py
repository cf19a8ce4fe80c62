"""Schedules and assets: harmless before anything is there, and a retraining when the users have changed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import insert

from recsys.connections import open_store
from recsys.storage.database import upsert_rows
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.tables import arrivals, items, ratings, users
from recsys.storage.users import read_user
from retrain_model.days import find_last_finished_day
from tests.e2e.conftest import DAGS, World
from tests.factories import tiny_world
from tests.recipes import put_into_production

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]
CATALOG, INTERACTIONS = tiny_world()
ENDED = {"success", "failed"}


def test_from_an_empty_database_to_a_retraining_that_drift_asks_for(
    open_airflow: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if this Airflow had been started for the first time sixteen days ago, and been off since.
    today = find_last_finished_day(datetime.now(UTC))
    monkeypatch.setenv("OTAKU_START_DATE", str(today - timedelta(days=15)))
    world = open_airflow(clock=True)
    client = world.client

    # Every schedule has a run right away, arrivals one for every day; there is nothing to work on.
    wait_until(lambda: sum(run["state"] in ENDED for run in client.list_runs("add_new_users")) == 16, seconds=900)
    for dag_id in DAGS:
        run = wait_for_run(world, dag_id, "scheduled")
        assert run["state"] == "success"
        tasks = client.read_tasks(dag_id, run["dag_run_id"])
        assert {task["state"] for task in tasks.values()} == {"skipped"}
        first = {"retrain_model": "snapshot", "monitor_drift": "measure"}.get(dag_id, next(iter(tasks)))
        reasons = (
            "nothing was ingested yet",
            "nothing was promoted yet",
            "ingest ratings first",
            "no new feedback",
        )
        log = client.read_log(dag_id, run["dag_run_id"], first, attempt=tasks[first]["try_number"])
        assert any(reason in line for line in log for reason in reasons), log

    # Then there are users and a model, a user rates in the service, and quite different users come.
    with world.engine.begin() as connection:
        upsert_rows(connection, items, CATALOG.items)
        upsert_rows(connection, users, pd.DataFrame({"user_id": INTERACTIONS.user_ids, "batch_id": "test"}))
        upsert_rows(connection, ratings, INTERACTIONS.table)
        write_feedback(connection, [FeedbackEvent("a", 7, 19, "rating", 2), FeedbackEvent("b", 7, 5, "dismissal")])
        connection.execute(insert(arrivals).values(day=today, n_users=0, n_ratings=0, n_generated=0, batch_id="none"))
    put_into_production(world.settings, world.engine, today)
    run = wait_for_end(world, "ingest_feedback", client.trigger("ingest_feedback"))
    assert run["state"] == "success"
    with world.engine.begin() as connection:
        user = read_user(connection, 7)
        cold_start_users = INTERACTIONS.table.assign(user_id=INTERACTIONS.table["user_id"] + 5000, rating=2)
        known_users = pd.DataFrame(
            {"user_id": cold_start_users["user_id"].unique(), "arrived_on": today, "batch_id": "test"}
        )
        upsert_rows(connection, users, known_users)
        upsert_rows(connection, ratings, cold_start_users)
    assert user is not None
    assert user.ratings[19] == 2

    # Drift is found, and the asset starts a retraining for its day.
    run_id = client.trigger("monitor_drift")
    wait_for_end(world, "monitor_drift", run_id)
    states = {name: task["state"] for name, task in client.read_tasks("monitor_drift", run_id).items()}
    assert states == {"measure": "success", "request_retraining": "success"}
    wait_for_run(world, "retrain_model", "asset_triggered", {"running", *ENDED})
    store = open_store(world.settings)
    wait_until(lambda: any(key.endswith("/snapshot/manifest.json") for key in store.list_keys(f"retrain/{today}-")))


def wait_for_run(world: World, dag_id: str, kind: str, states: set[str] = ENDED) -> dict[str, Any]:
    """Wait for the first run of a kind."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        runs = [run for run in world.client.list_runs(dag_id) if run["run_type"] == kind]
        found[:] = [run for run in runs if run["state"] in states]
        return bool(found)

    wait_until(there)
    return found[0]


def wait_for_end(world: World, dag_id: str, run_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        found[:] = [run for run in world.client.list_runs(dag_id) if run["dag_run_id"] == run_id]
        return found[0]["state"] in ENDED

    wait_until(ended)
    return found[0]


def wait_until(condition: Callable[[], bool], *, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
