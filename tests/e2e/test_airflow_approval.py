"""A promotion that waits for a person, in the real Airflow: asked, answered, and written down with who and why."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from recsys.connections import open_store
from recsys.storage.approvals import list_waiting
from recsys.storage.ingestion import ingest_directory
from recsys.storage.promotion import read_ledger
from recsys.storage.tables import arrivals
from tests.e2e.conftest import World
from tests.retrain_model.worlds import write_tiny_world

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]


def test_a_person_approves_under_required_actions(open_airflow: Callable[..., World], tmp_path: Path) -> None:
    write_tiny_world(tmp_path / "files")
    world = open_airflow()
    ingest_directory(tmp_path / "files", world.engine, open_store(world.settings), hold_back=0.2)
    today = datetime.now(UTC).date()
    with world.engine.begin() as connection:
        connection.execute(insert(arrivals).values(day=today, n_users=0, n_ratings=0, n_generated=0, batch_id="none"))
    run_id = world.client.trigger("retrain_model", approval="always")

    def state(task_id: str) -> str:
        return str(world.client.read_tasks("retrain_model", run_id).get(task_id, {}).get("state"))

    wait_until(lambda: state("approve") == "awaiting_input")
    assert read_ledger(world.engine) == []
    (request,) = list_waiting(world.engine, world.settings.model_name)
    assert "interval" in request.body
    answer = {"chosen_options": ["Promote"], "params_input": {"reason": "the lists look good"}}
    path = f"/dags/retrain_model/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    world.client._http.patch(path, json=answer).raise_for_status()
    wait_until(lambda: state("promote") in ("success", "failed"))
    assert (state("approve"), state("promote"), state("keep")) == ("success", "success", "skipped")
    (entry,) = read_ledger(world.engine)
    assert (entry.action, entry.actor, entry.run_key) == ("promote", "user:admin", request.run_key)
    assert entry.evidence["approval"]["reason"] == "the lists look good"


def wait_until(condition: Callable[[], bool], *, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
