"""Evaluate the deadlines of runs in Airflow's own database and write them as JSON."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.models import DagRun, TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=21, minute=50, second=0, microsecond=0)


def add_run(session: Session, dag_id: str, run_id: str, **values: Any) -> str:
    """Insert a run and return its id."""
    row = {"dag_id": dag_id, "run_id": run_id, "run_type": "scheduled", "state": "success", "run_after": NOW, **values}
    session.execute(insert(DagRun).values(row))
    return run_id


def add_retraining(session: Session, run_id: str, seconds: float, *, gate: str = "success", **values: Any) -> None:
    """Insert a retraining that took so long, with its gate."""
    times = {"start_date": NOW - timedelta(seconds=seconds), "end_date": NOW}
    add_run(session, "retrain_model", run_id, **times, **values)
    instance = {"task_id": "gate", "dag_id": "retrain_model", "run_id": run_id, "map_index": -1, "state": gate}
    session.execute(insert(TaskInstance).values({**instance, "pool": "default_pool", "pool_slots": 1}))


def main(output: Path) -> None:
    """Add runs and ask for their deadlines."""
    from otaku_deadlines import EndOfArrivals, TwiceTheMean  # a plugin: importable where Airflow is configured

    arrivals: dict[str, str | None] = {}
    retraining: dict[str, float | None] = {}
    with create_session() as session:
        # Those that other tests left; what is done here is rolled back.
        session.execute(delete(DagRun))

        def due(run_id: str) -> str | None:
            found = EndOfArrivals()._evaluate_with(session=session, dag_id="add_new_users", run_id=run_id)
            assert found is None or found.date() == TODAY.date()
            return None if found is None else str(found.time())

        def seconds(run_id: str) -> float | None:
            found = TwiceTheMean()._evaluate_with(session=session, dag_id="retrain_model", run_id=run_id)
            return None if found is None else (found - NOW).total_seconds()

        for name, end, kind in (
            ("today", TODAY, "scheduled"),
            ("made up for", TODAY - timedelta(days=3), "scheduled"),
            ("backfill", TODAY, "backfill"),
            ("triggered", None, "manual"),
        ):
            arrivals[name] = due(add_run(session, "add_new_users", name, run_type=kind, data_interval_end=end))

        add_retraining(session, "skipped", 3, gate="skipped")
        add_retraining(session, "failed", 7200, state="failed")
        for count in (1, 2):
            add_retraining(session, f"run {count}", 100 * count)
        add_run(session, "retrain_model", "new", state="queued")
        retraining["after two runs"] = seconds("new")
        add_retraining(session, "run 3", 300)
        retraining["after three runs"] = seconds("new")
        retraining["backfill"] = seconds(add_run(session, "retrain_model", "again", run_type="backfill"))
        session.rollback()
    output.write_text(json.dumps({"arrivals": arrivals, "retraining": retraining}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
