"""Asset events that mean something: rows changed in this run, and the event says how many."""

from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar

from airflow.sdk import Asset, Context
from airflow.sdk.exceptions import AirflowSkipException

T = TypeVar("T")
SKIP_REASON = "skip_reason"
# Clocks of Airflow and of the database may differ by as much.
_TOLERANCE = timedelta(minutes=1)


def is_of_this_run(context: Context, *, is_new: bool, changed_at: str | None, was_asked: bool = False) -> bool:
    """Whether a change that a job found or made belongs to this run.

    A task that was killed after its commit finds its own work when it is tried again, and still has to tell of it.

    Parameters
    ----------
    was_asked
        The run waited for a person, who may have made the change elsewhere: on `/ops` or by `otaku models approve`.
    """
    if is_new or changed_at is None or (context["ti"].try_number == 1 and not was_asked):
        return is_new
    started = context["dag_run"].start_date
    return started is not None and datetime.fromisoformat(changed_at) >= started - _TOLERANCE


def skip(context: Context, reason: str) -> NoReturn:
    """Skip the task; the reason stands in its log and in its XCom `skip_reason`.

    Raises
    ------
    AirflowSkipException
        Always.
    """
    context["ti"].xcom_push(key=SKIP_REASON, value=reason)
    raise AirflowSkipException(reason)


def announce(context: Context, asset: Asset, *, n_rows: int, result: T, unchanged: str, **extra: Any) -> T:
    """Let the task end with an event of the asset that says how many rows changed, or skip it if none did.

    Parameters
    ----------
    result
        What the task returns; kept as its XCom either way.
    unchanged
        Why nothing changed, for the log of a skipped task.

    Raises
    ------
    AirflowSkipException
        If no row changed: a skipped task updates no asset.
    """
    if not n_rows:
        context["ti"].xcom_push(key="return_value", value=result)
        skip(context, unchanged)
    context["outlet_events"][asset].extra = {"n_rows": n_rows, **extra}
    return result
