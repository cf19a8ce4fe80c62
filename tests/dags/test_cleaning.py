"""What the local Airflow forgets after the days of the setting."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otaku.platform import airflow_server
from otaku.platform.airflow_server import delete_old_files
from tests.dags.conftest import run_with_airflow

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADD_RUNS = """
import sys
from datetime import UTC, datetime, timedelta
from airflow.models import DagRun
from airflow.utils.session import create_session
from sqlalchemy import delete, insert, select
with create_session() as session:
    if sys.argv[1] == "add":
        for age in (200, 100, 1):
            moment = datetime.now(UTC) - timedelta(days=age)
            row = {"dag_id": "cleaned", "run_id": f"{age} days ago", "run_type": "manual", "state": "success"}
            times = {"run_after": moment, "start_date": moment, "end_date": moment, "logical_date": moment}
            session.execute(insert(DagRun).values({**row, **times}))
    else:
        print(sorted(session.scalars(select(DagRun.run_id).where(DagRun.dag_id == "cleaned"))))
        session.execute(delete(DagRun).where(DagRun.dag_id == "cleaned"))
"""


def test_old_files_and_empty_folders_are_deleted(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for name, age in (("a/old.log", 40), ("b/old.log", 40), ("b/new.log", 3)):
        path = logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("said")
        moment = (NOW - timedelta(days=age)).timestamp()
        os.utime(path, (moment, moment))
    delete_old_files(logs, NOW - timedelta(days=30))
    left = sorted(str(path.relative_to(logs)) for path in logs.rglob("*"))
    assert left == ["b", "b/new.log"]


@pytest.mark.slow
def test_old_runs_are_forgotten(airflow_home: Path) -> None:
    script = airflow_home / "runs.py"
    script.write_text(ADD_RUNS)
    added = run_with_airflow(airflow_home, script, "add")
    assert added.returncode == 0, added.stderr
    done = run_with_airflow(airflow_home, "-P", airflow_server.__file__, "clean", "90")
    assert done.returncode == 0, done.stderr
    left = run_with_airflow(airflow_home, script, "list")
    assert left.stdout.strip().endswith("['1 days ago']"), left.stdout + left.stderr
