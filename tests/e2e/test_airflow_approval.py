"""A promotion that waits for a person, in the real Airflow: asked, answered, and written down with who and why."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from app.main import create_app
from otaku.platform import airflow
from recsys.connections import open_registry, open_store
from recsys.storage.approvals import list_waiting
from recsys.storage.ingestion import ingest_directory
from recsys.storage.promotion import read_ledger
from recsys.storage.tables import arrivals
from tests.app.harness import TestClient
from tests.e2e.conftest import World
from tests.retrain_model.worlds import write_tiny_world

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]


@pytest.fixture
def asked(open_airflow: Callable[..., World], tmp_path: Path) -> tuple[World, str]:
    """A world whose first retraining waits for approval, and the id of its run."""
    write_tiny_world(tmp_path / "files")
    world = open_airflow()
    ingest_directory(tmp_path / "files", world.engine, open_store(world.settings), hold_back=0.2)
    today = datetime.now(UTC).date()
    with world.engine.begin() as connection:
        connection.execute(insert(arrivals).values(day=today, n_users=0, n_ratings=0, n_generated=0, batch_id="none"))
    run_id = world.client.trigger("retrain_model", approval="always")
    wait_until(lambda: read_state(world, run_id, "approve") in ("awaiting_input", "upstream_failed"))
    assert read_state(world, run_id, "approve") == "awaiting_input"
    assert read_ledger(world.engine) == []
    return world, run_id


def read_state(world: World, run_id: str, task_id: str) -> str:
    return str(world.client.read_tasks("retrain_model", run_id).get(task_id, {}).get("state"))


def test_a_person_approves_under_required_actions(asked: tuple[World, str]) -> None:
    world, run_id = asked
    (request,) = list_waiting(world.engine, world.settings.model_name)
    assert "interval" in request.body
    answer = {"chosen_options": ["Promote"], "params_input": {"reason": "the lists look good"}}
    path = f"/dags/retrain_model/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    world.client._http.patch(path, json=answer).raise_for_status()

    wait_until(lambda: read_state(world, run_id, "promote") in ("success", "failed"))
    assert [read_state(world, run_id, task) for task in ("approve", "promote", "keep")] == [*["success"] * 2, "skipped"]
    (entry,) = read_ledger(world.engine)
    assert (entry.action, entry.actor, entry.run_key) == ("promote", "user:admin", request.run_key)
    assert entry.evidence["approval"]["reason"] == "the lists look good"


def test_a_refusal_on_the_page_of_operators_goes_on_in_airflow(asked: tuple[World, str]) -> None:
    world, run_id = asked
    (request,) = list_waiting(world.engine, world.settings.model_name)
    password = SecretStr(airflow.read_password(world.platform.home))
    settings = world.settings.model_copy(update={"airflow_password": password})
    app = create_app(settings, source=open_registry(settings))
    here = {"base_url": "http://127.0.0.1", "client": ("127.0.0.1", 50000), "headers": {"Accept": "text/html"}}
    with TestClient(app, **here) as client:  # type: ignore[arg-type]
        page = client.get("/ops").text
        assert request.run_key in page
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
        form = {"token": token[1], "answer": "refuse", "reason": "one studio in every list"}
        assert "is refused." in client.post(f"/ops/approvals/{request.run_key}", data=form).text

    wait_until(lambda: read_state(world, run_id, "keep") in ("success", "failed"))
    assert [read_state(world, run_id, task) for task in ("approve", "keep", "promote")] == [*["success"] * 2, "skipped"]
    (entry,) = read_ledger(world.engine)
    assert (entry.action, entry.actor) == ("keep", "user:local")
    assert "one studio in every list" in entry.reason


def wait_until(condition: Callable[[], bool], *, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
