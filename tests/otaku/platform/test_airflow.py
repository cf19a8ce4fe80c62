"""The local Airflow: its configuration, how its parts are kept running, and the whole of it once."""

import asyncio
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from app.pages.ops.scheduler import Scheduler
from otaku.platform import airflow
from otaku.platform.airflow_server import Component
from otaku.platform.local import PARTS, LocalPlatform
from otaku.platform.part import Site
from otaku.platform.state import Credentials
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings

SECRET = "p" * 32
DAGS = ("add_new_users", "ingest_feedback", "monitor_drift", "retrain_model")


@pytest.fixture
def site(home: Path) -> Site:
    settings = Settings.model_construct(
        home=home,
        s3_bucket="otaku",
        database_url=SecretStr("postgresql://someone:else@db.example.org/otaku"),
        **dict.fromkeys(("s3_endpoint_url", "aws_access_key_id", "aws_secret_access_key", "mlflow_tracking_uri")),
    )
    return Site(home, settings, Credentials(SECRET, "access-key-id", "secret"))


def test_tasks_and_parts_find_the_api_server_and_nothing_listens_elsewhere(site: Site) -> None:
    environment = airflow.environment_of(site, 4321)
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:4321/execution/"
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:4321"
    assert environment["OTAKU_DATABASE_URL"] == "postgresql://someone:else@db.example.org/otaku"
    assert (Path(environment["AIRFLOW__CORE__DAGS_FOLDER"]) / "add_new_users_dag.py").exists()


def test_no_database_is_created_on_an_outside_server(site: Site) -> None:
    url = airflow.environment_of(site, 4321)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert url == f"sqlite:///{site.home}/airflow/airflow.db"


def test_keys_are_stable_different_and_do_not_give_the_password_away(site: Site) -> None:
    names = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET")
    first, second = airflow.environment_of(site, 1), airflow.environment_of(site, 2)
    keys = {first[name] for name in names}
    assert len(keys) == 3
    assert [first[name] for name in names] == [second[name] for name in names]
    assert not any(SECRET in key for key in keys)


def test_password_is_generated_once_and_kept_private(home: Path) -> None:
    password = airflow.read_password(home)
    assert len(password) >= 12
    assert airflow.read_password(home) == password
    assert airflow.password_file(home).stat().st_mode & 0o777 == 0o600


def test_a_rotated_password_is_another_and_as_private(home: Path) -> None:
    before = airflow.read_password(home)
    airflow.rotate_password(home)
    assert airflow.read_password(home) not in ("", before)
    assert airflow.password_file(home).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (home / "airflow").iterdir()] == ["passwords.json"]


def test_commands_are_for_the_airflow_of_the_home_alone(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="run otaku up, or use yours by its own CLI"):
        airflow.commands_environment(Settings(_env_file=None, home=site.home))  # type: ignore[call-arg]


def test_a_part_that_ends_is_started_again_after_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    component = Component("scheduler")
    monkeypatch.setattr(component, "_command", (sys.executable, "-c", "raise SystemExit(3)"))
    starts, now = [], 0.0
    while len(starts) < 4:
        before = component._process
        component.supervise(now)
        if component._process is not None and before is None:
            starts.append(now)
            component._process.wait()
        now += 0.5
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == sorted(gaps)
    assert gaps[0] < gaps[-1]
    component.wait(time.monotonic())


def test_a_part_that_does_not_want_to_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    component = Component("scheduler")
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    stubborn += f"open({str(tmp_path / 'deaf')!r}, 'w').close(); time.sleep(99)"
    monkeypatch.setattr(component, "_command", (sys.executable, "-c", stubborn))
    component.supervise(0.0)
    assert component._process is not None
    while not (tmp_path / "deaf").exists():
        time.sleep(0.01)
    component.terminate()
    component.wait(time.monotonic() + 0.2)
    assert component._process.returncode == -9


def test_idle_workers_of_a_killed_scheduler_are_ended_and_a_task_ends_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = "import sys, time; from setproctitle import setproctitle; setproctitle(sys.argv[1]); "
    worker += "open(sys.argv[2], 'w').close(); time.sleep(99)"
    names = {"idle": "LocalExecutor: <idle>", "busy": "LocalExecutor: 42"}
    scheduler = "import subprocess, sys, time\n"
    for name, title in names.items():
        scheduler += f"subprocess.Popen([sys.executable, '-c', {worker!r}, {title!r}, {str(tmp_path / name)!r}])\n"
    component = Component("scheduler")
    monkeypatch.setattr(component, "_command", (sys.executable, "-c", f"{scheduler}time.sleep(99)"))
    component.supervise(0.0)
    assert component._process is not None
    while not all((tmp_path / name).exists() for name in names):
        time.sleep(0.01)
    workers = {" ".join(child.cmdline()).strip(): child for child in psutil.Process(component._process.pid).children()}
    idle, busy = (next(child for title, child in workers.items() if name in title) for name in names.values())
    component._process.kill()
    component._process.wait()
    component.supervise(0.0)
    assert idle.wait(20) is None
    assert busy.is_running()
    busy.kill()
    busy.wait(20)
    component.supervise(0.0)
    component.supervise(0.0)
    assert component._groups == set()


@pytest.mark.local
@pytest.mark.e2e
def test_airflow_comes_up_with_all_dags_and_leaves_nothing_behind(given: Settings) -> None:
    parts = (*PARTS, airflow.make_part(clock=False))
    with LocalPlatform(given, durable=False, parts=parts) as platform:
        settings = platform.settings()
        url, password = str(settings.airflow_url).rstrip("/"), airflow.read_password(platform.home)
        assert airflow.problem_of(url) is None
        assert httpx.get(url, timeout=120).status_code == 200
        assert httpx.get(f"{url}/api/v2/dags", timeout=120).status_code == 401
        login = {"username": airflow.USER, "password": password}
        token = httpx.post(f"{url}/auth/token", json=login, timeout=120).json()["access_token"]
        client = httpx.Client(base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=120)
        with client:
            deadline = time.monotonic() + 300
            while len(dags := client.get("/dags").json()["dags"]) < len(DAGS) and time.monotonic() < deadline:
                time.sleep(0.5)
            assert {dag["dag_id"]: dag["is_paused"] for dag in dags} == dict.fromkeys(DAGS, False)
            assert client.get("/importErrors").json()["import_errors"] == []
            assert client.get("/pools/training").json()["slots"] == 1
            assert client.delete("/pools/training").status_code == 204
            assert [row.problem for row in platform.report() if row.name == "airflow"] == [
                "the pool training is missing; otaku up restores it"
            ]
            assert airflow.restore_pool(settings)
            assert not airflow.restore_pool(settings)
            assert all(row.healthy for row in platform.report())
            command = [sys.executable, "-m", "otaku", "airflow", "pools", "get", "training", "--output", "json"]
            names = {**os.environ, "OTAKU_HOME": str(given.home)}
            listed = subprocess.run(command, env=names, cwd=given.home, capture_output=True, text=True, check=False)
            assert '"slots": "1"' in listed.stdout, listed.stderr
            assert client.get("/dags/~/dagRuns").json()["dag_runs"] == []
            scheduler = Scheduler(url, airflow.USER, password)
            planned = {run.dag_id: run for run in asyncio.run(scheduler.read_next_runs())}
            assert planned.keys() == set(DAGS)
            assert planned["add_new_users"].at.startswith("20")
            run_id = asyncio.run(scheduler.trigger_retraining("the lists look old"))
            (run,) = client.get("/dags/retrain_model/dagRuns").json()["dag_runs"]
            assert (run["dag_run_id"], run["note"]) == (run_id, "the lists look old")
            asyncio.run(scheduler.answer_approval("nothing waits", approve=True, reason="because"))
    assert airflow.problem_of(url) is not None
