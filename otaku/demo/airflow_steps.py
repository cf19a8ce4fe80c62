"""The same weeks run by Airflow: days are backfilled, and the results are read from the database afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Engine, select

from otaku.demo.steps import WEEK, DemoReport, Output, describe
from otaku.platform import airflow
from otaku.platform.airflow_client import AirflowClient
from otaku.platform.local import LocalPlatform
from recsys.exceptions import RetrainError
from recsys.progress import OnProgress
from recsys.settings import Settings
from recsys.storage.tables import drift_reports
from retrain_model import steps
from retrain_model.context import RetrainContext, read_usage
from retrain_model.job import RetrainReport, open_context
from simulate_new_users.arrivals import EPOCH
from simulate_new_users.job import add_new_users

ARRIVALS, DRIFT, RETRAINING = "add_new_users", "monitor_drift", "retrain_model"
# Far beyond what any of them takes: a task that hangs is ended by its execution timeout before.
_TIMEOUT_SECONDS = 12 * 3600.0
_SUCCEEDED = frozenset({"success", "skipped"})


@contextmanager
def open_scheduler(platform: LocalPlatform) -> Iterator[AirflowClient]:
    """Log in to the Airflow of a platform and wait until it knows the DAGs."""
    url, password = str(platform.settings().airflow_url), airflow.read_password(platform.home)
    with AirflowClient(url, airflow.USER, password) as client:
        client.wait_for_dags([ARRIVALS, DRIFT, RETRAINING])
        yield client


def run_week(
    settings: Settings,
    client: AirflowClient,
    week: int,
    demo: DemoReport,
    output: Output,
    on_progress: OnProgress,
) -> None:
    """Let Airflow run seven days of arrivals, the drift monitor and a retraining.

    Parameters
    ----------
    client
        Of an Airflow whose schedules are off, so that nothing else runs.
    week
        Counted from 1, as in `otaku.demo.steps.run_week`.
    """
    monday = EPOCH + (week - 1) * WEEK
    sunday = monday + timedelta(days=6)
    with demo.timed(f"week {week}: arrivals"):
        run_days(client, ARRIVALS, monday, sunday, on_progress)
    with open_context(sunday, settings=settings) as context:
        days = [monday + timedelta(days=offset) for offset in range(7)]
        # The days have arrived: this only reads their reports.
        arrivals = [add_new_users(context.engine, day) for day in days]
        output.arrived(week, arrivals)
        with demo.timed(f"week {week}: drift"):
            run_days(client, DRIFT, sunday, sunday, on_progress)
        drift = _read_drift(context.engine, sunday)
        output.drifted(drift)
        with demo.timed(f"week {week}: retrain") as elapsed:
            run_days(client, RETRAINING, sunday, sunday, on_progress, period=WEEK)
            seconds = elapsed()
        report = _read_report(context).to_dict()
    demo.weeks.append({"arrivals": [describe(arrival) for arrival in arrivals], "drift": drift, **report})
    output.retrained(report, seconds)


def run_days(
    client: AirflowClient,
    dag_id: str,
    first: date,
    last: date,
    on_progress: OnProgress,
    *,
    period: timedelta = timedelta(days=1),
) -> None:
    """Backfill the runs of some days and wait for them; progress counts finished tasks.

    Raises
    ------
    RetrainError
        A task failed after its retries; names it and the address of its log.
    """
    n_runs = (last - first) // period + 1

    def report_states() -> None:
        """Report how many runs have succeeded."""
        states = _read_states(client, dag_id, first, last)
        total = max(len(states), n_runs)
        on_progress(f"Airflow: {dag_id}", sum(state in _SUCCEEDED for state in states.values()), total)

    backfill = client.backfill(dag_id, first, last, period=period)
    client.wait_for_backfill(backfill, timeout=_TIMEOUT_SECONDS, on_poll=report_states)
    states = _read_states(client, dag_id, first, last)
    failed = [f"{task_id} of {day}" for (day, task_id), state in states.items() if state not in _SUCCEEDED]
    if failed or not states:
        what = ", ".join(failed) or "no task ran"
        raise RetrainError(f"{dag_id} did not succeed ({what}); its logs are at {client.url}/dags/{dag_id}")


def _read_states(client: AirflowClient, dag_id: str, first: date, last: date) -> dict[tuple[date, str], str]:
    runs = {day: run for day, run in client.read_runs(dag_id).items() if first <= day <= last}
    return {
        (day, task_id): str(task["state"])
        for day, run in runs.items()
        for task_id, task in client.read_tasks(dag_id, run["dag_run_id"]).items()
    }


def _read_drift(engine: Engine, day: date) -> str | None:
    """Read the drift verdict of a day; None while there was no model to compare with."""
    with engine.connect() as connection:
        return connection.execute(select(drift_reports.c.reason).where(drift_reports.c.day == day)).scalar_one_or_none()


def _read_report(context: RetrainContext) -> RetrainReport:
    """Read the results of the finished steps of a retraining."""
    decision: dict[str, Any] = steps.gate(context)
    return RetrainReport(
        context.run_key,
        str(decision["action"]),
        decision,
        steps.read_evaluation(context),
        read_usage(context, steps.STEPS),
    )
