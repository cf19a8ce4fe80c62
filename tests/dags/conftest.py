"""Airflow for the tests of the DAG files: a home of its own in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
RUN_DAG = Path(__file__).with_name("run_dag.py")


def build_environment(home: Path) -> dict[str, str]:
    """Return the variables of a process that has Airflow's state under `home`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OTAKU"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }


def run_with_airflow(home: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with Airflow's state under `home`."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=build_environment(home) | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give Airflow a folder with its own migrated database."""
    home = tmp_path_factory.mktemp("airflow")
    done = run_with_airflow(home, "-m", "airflow", "db", "migrate")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="session")
def bag(airflow_home: Path) -> dict[str, Any]:
    """What the DAG files hold, as parsed by Airflow."""
    output = airflow_home / "bag.json"
    done = run_with_airflow(airflow_home, Path(__file__).with_name("read_bag.py"), DAGS, output)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(output.read_text(encoding="utf-8"))


RunDag = Callable[..., list[dict[str, Any]]]
RunRequest = Callable[[str, Path], None]


@pytest.fixture(scope="session")
def run_request(airflow_home: Path) -> Iterator[RunRequest]:
    """Run requests of `run_dag.py` in forks of one process that has Airflow imported."""
    with subprocess.Popen(
        [sys.executable, str(RUN_DAG), str(DAGS)],
        env=build_environment(airflow_home),
        cwd=airflow_home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        reader, writer = process.stdout, process.stdin
        assert reader is not None
        assert writer is not None

        def run(request: str, output: Path) -> None:
            log = output.with_suffix(".log")
            writer.write(json.dumps({"request": request, "output": str(output), "log": str(log)}) + "\n")
            writer.flush()
            assert int(reader.readline()) == 0, log.read_text(encoding="utf-8")[-5000:]

        yield run
        writer.close()


@pytest.fixture
def run_dags(airflow_home: Path, run_request: RunRequest, tmp_path: Path) -> RunDag:
    """Run DAGs by `dag.test()` in one process: `run_dags((dag_id, logical_date, conf, environment), ...)`.

    The environment of the first run holds for the loading of the files too. `without` names packages that the Python
    of Airflow lacks, which takes a process of its own. `raises` names for each run a job and the error that ends it.
    """

    def run(
        *runs: tuple[str, str, dict[str, Any], dict[str, str]],
        retry: bool = False,
        without: tuple[str, ...] = (),
        raises: Sequence[tuple[str, str]] = (),
    ) -> list[dict[str, Any]]:
        output = tmp_path / "runs.json"
        names = ("dag_id", "logical_date", "conf", "environment")
        wanted = [dict(zip(names, values, strict=True)) for values in runs]
        request = json.dumps({"runs": wanted, "retry": retry, "without": without, "raises": raises})
        if without:
            done = run_with_airflow(airflow_home, RUN_DAG, DAGS, request, output)
            assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        else:
            run_request(request, output)
        return json.loads(output.read_text(encoding="utf-8"))

    return run


@pytest.fixture
def run_dag(run_dags: RunDag) -> RunDag:
    """Run one DAG: `run_dag(dag_id, (logical_date, conf), ..., environment=...)` for each run its end."""

    def run(
        dag_id: str, *runs: tuple[str, dict[str, Any]], environment: dict[str, str], retry: bool = False
    ) -> list[dict[str, Any]]:
        return run_dags(*((dag_id, date, conf, environment) for date, conf in runs), retry=retry)

    return run
