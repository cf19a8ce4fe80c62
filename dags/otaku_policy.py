"""Defaults that all DAGs share: owner, retries, timeouts, callbacks, assets, and the day of a run."""

import logging
import os
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Context, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from otaku_notify import list_notifiers, notify_failure, notify_quiet_week

log = logging.getLogger(__name__)

# First day of any queue of arrivals; no run has an earlier day.
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)

# The first day with scheduled runs: with it, arrivals of missed days are made up for. The data interval of a day begins
# the day before.
_FIRST_RUN = os.environ.get("OTAKU_START_DATE")
START_DATE = datetime.fromisoformat(_FIRST_RUN).replace(tzinfo=UTC) - timedelta(days=1) if _FIRST_RUN else FIRST_DAY
CATCH_UP = bool(_FIRST_RUN)


def _build_asset(name: str, description: str) -> Asset:
    return Asset(f"otaku.{name}", uri=f"x-otaku://{name}", group="otaku", extra={"description": description})


RATINGS = _build_asset("ratings", "users or ratings have changed")
PRODUCTION_MODEL = _build_asset("production_model", "another version is in Production")
DRIFT = _build_asset("drift", "an early retraining is requested")

# Limits concurrent training tasks: `airflow pools set training 1 "heavy steps"`.
TRAINING_POOL = "training"

# Of the tasks before a verdict, one may be skipped.
AFTER_ANY = "none_failed_min_one_success"

# A retry helps while a service is down, not against wrong data or settings. With another interpreter, errors arrive
# without their class, and Airflow's own environment need not hold these classes.
NON_RETRYABLE: list[str | type[BaseException]] = [
    "recsys.exceptions.DataContractError",
    "recsys.exceptions.ConfigurationError",
    "recsys.exceptions.RegistryError",
    "recsys.exceptions.ChangedInputsError",
    "recsys.exceptions.StaleChampionError",
    "recsys.exceptions.UnfinishedDayError",
]
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[]
    if os.environ.get("OTAKU_TASK_PYTHON")
    else [RetryRule(exception=NON_RETRYABLE, action=RetryAction.FAIL, reason="a retry cannot fix this error")],
)


def day_of_run(context: Context) -> date:
    """Return the day of a run, in UTC: the day on which its data interval ends.

    A run without a logical date has no interval. If assets triggered it, their newest event names the day; else
    `run_after` does, which does not change when the run is retried or cleared.
    """
    events = context.get("triggering_asset_events") or {}
    days = [event.extra["day"] for found in events.values() for event in found if "day" in event.extra]
    if days:
        return date.fromisoformat(max(days))
    moment = context.get("data_interval_end") or context["dag_run"].run_after
    return moment.astimezone(UTC).date()


def finished_day_of_run(context: Context) -> date:
    """Return the day of a run for jobs that need its arrivals: a trigger before they come means the day before."""
    day, triggered = day_of_run(context), context.get("data_interval_end") is None
    moment = context["dag_run"].run_after.astimezone(UTC)
    is_early = triggered and not context.get("triggering_asset_events") and (moment.hour, moment.minute) < (21, 50)
    return day - timedelta(days=int(is_early))


def log_failure(context: Context) -> None:
    """Log one line with the failed task, its day and the error."""
    instance, error = context["task_instance"], context.get("exception")
    day = day_of_run(context)
    log.error("%s.%s failed for %s: %s: %s", instance.dag_id, instance.task_id, day, type(error).__name__, error)


def build_deadline(reference: str, text: str) -> DeadlineAlert | None:
    """Build the alert of a DAG; None where Airflow does not have the plugin with the references.

    Parameters
    ----------
    reference
        Name of a class in `plugins/otaku_deadlines.py`.
    text
        What should have ended by when, for those who are told.
    """
    try:
        import otaku_deadlines
    except ModuleNotFoundError:
        return None
    callback = AsyncCallback(
        "otaku_deadlines.report_miss", kwargs={"text": text, "notifiers": [list(told) for told in list_notifiers()]}
    )
    return DeadlineAlert(getattr(otaku_deadlines, reference)(), timedelta(0), callback, name=text)


DAG_POLICY: dict[str, Any] = {
    "start_date": START_DATE,
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {
        "owner": "otaku",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
        "on_retry_callback": log_failure,
        "on_failure_callback": [log_failure, notify_failure],
        "on_skipped_callback": notify_quiet_week,
    },
}
