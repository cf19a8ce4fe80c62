"""Both DAGs on the real scheduler: out of order, again, cleared, killed, and with PostgreSQL going away meanwhile."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, select

from otaku.platform import airflow, postgres
from otaku.platform.airflow_client import AirflowClient
from otaku.platform.local import PARTS, LocalPlatform
from recsys.connections import open_store
from recsys.data.sample_world import write_sample_world
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine, migrate
from recsys.storage.ingestion import ingest_directory
from recsys.storage.tables import arrivals, decisions, ratings, user_preferences, users
from simulate_new_users.job import add_new_users

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 18)
SPARE = date(2026, 1, 19)
WEEK = timedelta(days=7)
SUNDAYS = (date(2026, 1, 11), date(2026, 1, 18))
DATA = (users, ratings, user_preferences, arrivals)


@dataclass(frozen=True)
class World:
    """A platform with Airflow over an ingested sample world, and the same world where nothing disturbs."""

    platform: LocalPlatform
    client: AirflowClient
    engine: Engine
    undisturbed: Engine

    def restart_postgres(self) -> None:
        """Kill the server as a power failure would, and bring it back."""
        (server,) = [entry for entry in self.platform.running() if entry.name == postgres.NAME]
        for process in [*psutil.Process(server.pid).children(), psutil.Process(server.pid)]:
            process.kill()
        time.sleep(1)
        self.platform.bring_up()

    def kill_task(self, dag_id: str, day: date, task_id: str, *, timeout: float = 300) -> None:
        """Wait until a task runs, then kill its process and the worker that watches it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            run = self.client.read_runs(dag_id).get(day)
            task = self.client.read_tasks(dag_id, run["dag_run_id"]).get(task_id) if run else None
            if task and task["state"] == "running" and (found := processes_of(task["id"])):
                for process in found:
                    process.kill()
                return
            time.sleep(0.1)
        raise AssertionError(f"{task_id} never ran")


def processes_of(instance: str) -> list[psutil.Process]:
    """Find the process of a task instance and its worker, which carry the id in their titles."""
    found = []
    for process in psutil.process_iter():
        try:
            if instance in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def read_rows(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Read what arrivals write, without the moment at which it was written."""
    rows = {}
    with engine.connect() as connection:
        for table in DATA:
            columns = [column for column in table.c if column.name != "created_at"]
            found = connection.execute(select(*columns).order_by(*table.primary_key))
            rows[table.name] = [tuple(row) for row in found]
    return rows


def ingest(url: str, folder: Path, store: ArtifactStore) -> Engine:
    engine = create_database_engine(url)
    migrate(engine)
    ingest_directory(folder, engine, store, hold_back=0.5)
    return engine


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    write_sample_world(folder / "files", n_users=800, n_items=80, n_ratings=20000, seed=5)
    given = Settings(_env_file=None, home=folder / "home")  # type: ignore[call-arg]
    with LocalPlatform(given, parts=(*PARTS, airflow.make_part(clock=False))) as platform:
        settings = platform.settings()
        url, store = settings.require_database_url(), open_store(settings)
        store.ensure_bucket()
        reference = postgres.sibling_database(url, "undisturbed")
        postgres.create_database(url, "undisturbed")
        engine, undisturbed = ingest(url, folder / "files", store), ingest(reference, folder / "files", store)
        password = airflow.read_password(platform.home)
        with AirflowClient(str(settings.airflow_url), airflow.USER, password) as client:
            client.wait_for_dags(["add_new_users", "retrain_model"])
            yield World(platform, client, engine, undisturbed)
        engine.dispose()
        undisturbed.dispose()


def test_people_arrive_as_if_nothing_had_happened(world: World) -> None:
    client = world.client
    for day in range((LAST - FIRST).days + 1):
        add_new_users(world.undisturbed, FIRST + timedelta(days=day))
    expected = read_rows(world.undisturbed)
    assert len(expected["arrivals"]) == 14

    # The second week before the first, each backwards.
    for first in (FIRST + WEEK, FIRST):
        client.wait_for_backfill(client.backfill("add_new_users", first, first + timedelta(days=6)), timeout=600)
    assert {run["state"] for run in client.read_runs("add_new_users").values()} == {"success"}
    assert read_rows(world.engine) == expected

    # All of it again, while PostgreSQL, which also holds Airflow's own tables, is killed three times.
    again = client.backfill("add_new_users", FIRST, LAST, again=True)
    restarts = threading.Thread(target=lambda: [(time.sleep(8), world.restart_postgres()) for _ in range(3)])
    restarts.start()
    restarts.join()
    client.wait_for_backfill(again, timeout=900)
    runs = client.read_runs("add_new_users")
    assert len(runs) == 14
    assert {run["state"] for run in runs.values()} == {"success"}
    assert read_rows(world.engine) == expected

    client.clear("add_new_users", runs[FIRST]["dag_run_id"], "add_cohort")
    assert client.wait_for_run("add_new_users", FIRST, timeout=300) == "success"
    assert read_rows(world.engine) == expected


def test_a_killed_arrival_is_tried_again(world: World) -> None:
    world.client.backfill("add_new_users", SPARE, SPARE)
    world.kill_task("add_new_users", SPARE, "add_cohort")
    assert world.client.wait_for_run("add_new_users", SPARE, timeout=400) == "success"
    run = world.client.read_runs("add_new_users")[SPARE]
    assert world.client.read_tasks("add_new_users", run["dag_run_id"])["add_cohort"]["try_number"] == 2
    add_new_users(world.undisturbed, SPARE)
    day = select(users.c.user_id).where(users.c.arrived_on == SPARE).order_by(users.c.user_id)
    with world.engine.connect() as here, world.undisturbed.connect() as there:
        assert here.scalars(day).all() == there.scalars(day).all()


def test_retraining_survives_a_killed_training_and_the_gate_is_followed(world: World) -> None:
    client = world.client
    for number, sunday in enumerate(SUNDAYS, start=1):
        backfill = client.backfill("retrain_model", sunday, sunday, period=WEEK)
        if number == 1:
            world.kill_task("retrain_model", sunday, "train_ranker", timeout=600)
        client.wait_for_backfill(backfill, timeout=900)
        assert client.read_runs("retrain_model")[sunday]["state"] == "success"
        with world.engine.connect() as connection:
            verdicts = connection.scalars(select(decisions.c.action).order_by(decisions.c.decision_id)).all()
        assert len(verdicts) == number
        tasks = client.read_tasks("retrain_model", client.read_runs("retrain_model")[sunday]["dag_run_id"])
        states = {name: task["state"] for name, task in tasks.items()}
        other = {"promote": "keep", "keep": "promote"}[verdicts[-1]]
        assert (states.pop(verdicts[-1]), states.pop(other)) == ("success", "skipped")
        assert set(states.values()) == {"success"}
        assert tasks["train_ranker"]["try_number"] == (2 if number == 1 else 1)
