"""The daily DAG after arrivals: tell whether the model in Production still fits the users."""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from otaku_jobs import run_job
from otaku_policy import DAG_POLICY, DRIFT, day_of_run

DOC = """
### What
Compares users who arrived lately with those the model in Production was trained on: how many titles they rate, how
high, which genres; how many of their ratings are about titles the model does not know; how old it is. Leaves a page
with a picture under `drift/<day>/` in S3 and a row in `drift_reports`. A breach asks for a retraining.

### When
Every day at 22:10 UTC, after the arrivals, for the day that ends its data interval.

### Idempotency
A day that has its row is left as it is. A retraining that is asked for twice is one: it is named by the day.

### Triage
* *measure is skipped*: nothing was ingested or promoted yet;
* *request_retraining is skipped*: the model still fits, or a challenger was judged within `rest_days`; see its log;
* *asks too often, or never*: change the params; 0.1 and 0.25 are the usual limits of the population stability index.
"""


@dag(
    **DAG_POLICY,
    schedule=CronDataIntervalTimetable("10 22 * * *", timezone="UTC"),
    params={
        "dry_run": Param(False, type="boolean", description="measure, but ask for nothing"),
        "window_days": Param(28, type="integer", minimum=1, description="look at users of so many days"),
        "rest_days": Param(3, type="integer", minimum=1, description="days after which another may be asked for"),
        "psi": Param(
            0.25, type="number", exclusiveMinimum=0, description="population stability index that is too much"
        ),
        "unknown_share": Param(0.05, type="number", minimum=0, maximum=1, description="ratings about unknown titles"),
        "age_days": Param(35, type="integer", minimum=1, description="age of the model that is too much"),
    },
    tags=["otaku", "daily", "monitoring"],
    description="Compare new users with those the model learned from; ask for a retraining if they differ",
    doc_md=DOC,
)
def monitor_drift() -> None:
    """Measure, and ask for a retraining if it is time."""

    @task
    def measure() -> dict[str, Any]:
        """Measure drift as of the run's day."""
        context = get_current_context()
        limits = ("window_days", "rest_days", "psi", "unknown_share", "age_days")
        options = [(f"--{name.replace('_', '-')}", context["params"][name]) for name in limits]
        row = run_job("retrain_model.drift", "--day", day_of_run(context), *(word for pair in options for word in pair))
        return {name: row[name] for name in ("day", "retraining_wanted", "reason", "report_uri")}

    @task(outlets=[DRIFT])
    def request_retraining(row: Any) -> None:
        """Update the asset that `retrain_model` waits for."""
        context = get_current_context()
        if context["params"]["dry_run"] or not row["retraining_wanted"]:
            raise AirflowSkipException(row["reason"])
        context["outlet_events"][DRIFT].extra = {"day": row["day"]}

    request_retraining(measure())


monitor_drift()
