"""A platform with a real Airflow scheduler over a sample world, and what the tests do to it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, select

from otaku.platform import airflow
from otaku.platform.airflow_client import AirflowClient
from otaku.platform.local import PARTS, LocalPlatform
from recsys.connections import open_store
from recsys.settings import Settings
from recsys.storage.database import create_database_engine
from recsys.storage.migration import migrate
from recsys.storage.tables import arrivals, ratings, user_preferences, users

DAGS = ("ingest_feedback", "add_new_users", "monitor_drift", "retrain_model")


@dataclass(frozen=True)
class World:
    """A platform with Airflow, a user logged in to it, and its database."""

    platform: LocalPlatform
    client: AirflowClient
    engine: Engine
    settings: Settings = field(repr=False)

    def kill_part(self, name: str) -> None:
        """End a service as a power failure would."""
        (server,) = [entry for entry in self.platform.running() if entry.name == name]
        for process in [*psutil.Process(server.pid).children(), psutil.Process(server.pid)]:
            process.kill()
        time.sleep(1)

    def restart_part(self, name: str) -> None:
        """End a service and bring it back."""
        self.kill_part(name)
        self.platform.bring_up()

    def airflow_environment(self) -> dict[str, str]:
        """Read the environment that Airflow runs in."""
        (server,) = [entry for entry in self.platform.running() if entry.name == airflow.NAME]
        return psutil.Process(server.pid).environ()

    def wait_for_task(
        self, dag_id: str, day: date, task_id: str, states: set[str], *, timeout: float = 300
    ) -> dict[str, Any]:
        """Wait until the task of a day is in one of some states and return it."""
        deadline, found = time.monotonic() + timeout, None
        while time.monotonic() < deadline:
            run = self.client.read_runs(dag_id).get(day)
            found = self.client.read_tasks(dag_id, run["dag_run_id"]).get(task_id) if run else None
            if found and found["state"] in states:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{task_id} of {day} is {found and found['state']}, not {states}")

    def kill_task(self, dag_id: str, day: date, task_id: str, *, timeout: float = 300) -> None:
        """Wait until a task runs, then kill its process and the worker that watches it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            task = self.wait_for_task(dag_id, day, task_id, {"running"}, timeout=timeout)
            if found := processes_of(task["id"]):
                for process in found:
                    process.kill()
                return
        raise AssertionError(f"{task_id} never ran")

    def states(self, dag_id: str, day: date) -> dict[str, str]:
        """Read how the tasks of a day ended."""
        run = self.client.read_runs(dag_id)[day]
        return {name: str(task["state"]) for name, task in self.client.read_tasks(dag_id, run["dag_run_id"]).items()}

    def log_of(self, dag_id: str, day: date, task_id: str, *, attempt: int | None = None) -> list[str]:
        """Read what a task of a day said, by default in its last try."""
        run_id = self.client.read_runs(dag_id)[day]["dag_run_id"]
        last = self.client.read_tasks(dag_id, run_id)[task_id]["try_number"]
        return self.client.read_log(dag_id, run_id, task_id, attempt=attempt or last)


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


@pytest.fixture(scope="session")
def read_rows() -> Callable[[Engine, date], dict[str, list[tuple[Any, ...]]]]:
    """Read what arrivals write up to a day, without the moment at which it was written."""

    def read(engine: Engine, last: date) -> dict[str, list[tuple[Any, ...]]]:
        there = users.c.arrived_on.is_(None) | (users.c.arrived_on <= last)
        rows = {}
        with engine.connect() as connection:
            for table in (users, ratings, user_preferences, arrivals):
                columns = [column for column in table.c if column.name not in {"created_at", "given_at", "source"}]
                query = select(*columns).order_by(*table.primary_key)
                if table is arrivals:
                    query = query.where(arrivals.c.day <= last)
                else:
                    query = query.where(there) if table is users else query.join(users).where(there)
                rows[table.name] = [tuple(row) for row in connection.execute(query)]
        return rows

    return read


@pytest.fixture(scope="module")
def open_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., World]]:
    """Bring a platform up with Airflow, its tables made and its bucket empty; it ends with the module."""
    with ExitStack() as stack:

        def open_one(*, clock: bool = False) -> World:
            home: Path = tmp_path_factory.mktemp("airflow") / "home"
            given = Settings(_env_file=None, home=home)  # type: ignore[call-arg]
            parts = (*PARTS, airflow.make_part(clock=clock))
            platform = stack.enter_context(LocalPlatform(given, parts=parts))
            settings = platform.settings()
            open_store(settings).ensure_bucket()
            engine = create_database_engine(settings.require_database_url())
            stack.callback(engine.dispose)
            migrate(engine)
            password = airflow.read_password(platform.home)
            client = stack.enter_context(AirflowClient(str(settings.airflow_url), airflow.USER, password))
            client.wait_for_dags(DAGS)
            return World(platform, client, engine, settings)

        yield open_one
