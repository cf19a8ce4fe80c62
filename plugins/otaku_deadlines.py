"""Deadlines of the DAGs, as a plugin of Airflow: until when a run should have ended, and who is told that it has not.

Airflow's own references know neither the day of a data interval nor twice a mean, and they count backfills and runs in
which every task was skipped. The scheduler, the DAG processor and the triggerer need this folder as `plugins_folder`;
without it the DAGs run without deadlines.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from statistics import mean
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

# Last runs whose mean counts, and how many there must be.
MAX_RUNS, MIN_RUNS = 10, 3
# Days that are made up for after a longer pause have no deadline any more.
LATEST = timedelta(days=1)


class EndOfArrivals(BaseDeadlineReference):
    """23:00 UTC of the day that ends the data interval of a scheduled run."""

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}
    due: ClassVar[time] = time(23, tzinfo=UTC)

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        run = _find_run(session, dag_id, run_id)
        if run is None or run.run_type != "scheduled" or run.data_interval_end is None:
            return None
        moment = datetime.combine(run.data_interval_end.astimezone(UTC).date(), self.due)
        return moment if moment > datetime.now(UTC) - LATEST else None


class TwiceTheMean(BaseDeadlineReference):
    """Twice the mean duration of the last runs that reached a decision, from now on; none below three of them."""

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun, TaskInstance
        from sqlalchemy import select

        run = _find_run(session, dag_id, run_id)
        if run is None or run.run_type == "backfill":
            return None
        decided = (
            select(DagRun.start_date, DagRun.end_date)
            .join(TaskInstance, (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id))
            .where(DagRun.dag_id == dag_id, DagRun.state == "success", DagRun.end_date.is_not(None))
            .where(TaskInstance.task_id == "gate", TaskInstance.state == "success")
            .order_by(DagRun.end_date.desc())
            .limit(MAX_RUNS)
        )
        durations = [(end - start).total_seconds() for start, end in session.execute(decided)]
        if len(durations) < MIN_RUNS:
            return None
        return datetime.now(UTC) + timedelta(seconds=2 * mean(durations))


def _find_run(session: "Session", dag_id: str, run_id: str) -> "DagRun | None":
    from airflow.models import DagRun
    from sqlalchemy import select

    return session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


async def report_miss(
    text: str, notifiers: Sequence[tuple[str, dict[str, Any]]], context: dict[str, Any] | None = None
) -> str:
    """Log that a run has missed its deadline and tell everybody; runs in the triggerer.

    Parameters
    ----------
    text
        What should have ended by when.
    notifiers
        Import path and arguments of each, as `otaku_notify.list_notifiers` gives them.
    context
        The run and its deadline, from Airflow.

    Raises
    ------
    RuntimeError
        If a notifier failed; the others have told.
    """
    from airflow.sdk._shared.module_loading import import_string

    run = (context or {}).get("dag_run") or {}
    dag_id, run_id = run.get("dag_id", ""), run.get("dag_run_id", "")
    log.warning("%s: %s", run_id, text)
    message = {
        "otaku_event": "deadline",
        "otaku_subject": f"{dag_id} is late",
        "otaku_text": f"{text}\n{run_id}",
        "otaku_dag_id": dag_id,
        "otaku_run_id": run_id,
    }
    untold = []
    for path, arguments in notifiers:
        try:
            await import_string(path)(context=dict(message), **arguments)
        except Exception as error:
            log.exception("%s could not be used", path)
            untold.append(f"{path}: {error}")
    if untold:
        raise RuntimeError("; ".join(untold))
    return f"told {len(notifiers)}"


class DeadlinePlugin(AirflowPlugin):
    """What Airflow reads of this file."""

    name = "otaku_deadlines"
    deadline_references = [EndOfArrivals, TwiceTheMean]  # noqa: RUF012 - declared by Airflow
