"""What the DAGs of the platform share: whose they are, what is tried again, which day a run stands for."""

import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Context, ExceptionRetryPolicy, RetryAction, RetryRule

log = logging.getLogger(__name__)

# Day 0 of the queue of arrivals; no run stands for an earlier day.
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)

RATINGS = Asset("otaku.ratings")
PRODUCTION_MODEL = Asset("otaku.production_model")

# One training at a time on the machines that train: `airflow pools set training 1 "heavy steps"`.
TRAINING_POOL = "training"

# A service that is away comes back; rows, settings and code that are wrong stay wrong however often one tries.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=["recsys.exceptions.DataContractError", "recsys.exceptions.ConfigurationError"],
            action=RetryAction.FAIL,
            reason="trying again cannot mend it",
        ),
    ],
)


def day_of_run(context: Context) -> date:
    """Tell the day a run stands for, in UTC: the day on which its data interval ends.

    A run triggered without a logical date has no interval; the moment it was triggered for stands in, which does
    not move when the run is retried or cleared.
    """
    moment = context.get("data_interval_end") or context["dag_run"].run_after
    return moment.astimezone(UTC).date()


def log_failure(context: Context) -> None:
    """Log one line that says what failed for which day, and why."""
    instance, error = context["task_instance"], context.get("exception")
    day = day_of_run(context)
    log.error("%s.%s failed for %s: %s: %s", instance.dag_id, instance.task_id, day, type(error).__name__, error)


DAG_POLICY: dict[str, Any] = {
    "start_date": FIRST_DAY,
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
        "on_failure_callback": log_failure,
    },
}
