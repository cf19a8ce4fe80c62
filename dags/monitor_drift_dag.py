"""The daily DAG after arrivals: measure drift and request a retraining if needed."""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task

from otaku_assets import announce, is_of_this_run
from otaku_jobs import run_job
from otaku_notify import notify
from otaku_policy import DAG_POLICY, DRIFT, finished_day_of_run
from otaku_references import DRIFT_LINKS, add_links, keep_references

DOC = """
### What
Compares users who arrived recently with those the model in Production was trained on: number of ratings, rating
values, genres; share of ratings of titles the model does not know; age of the model. Writes a report with a plot to
`drift/<day>/` in S3 and a row to `drift_reports`. A breached limit requests a retraining.

### When
Every day at 22:10 UTC, after the arrivals, for the day that ends its data interval.

### Idempotency
A day that has its row is left as it is. A retraining that is requested twice runs once: its key is the day.

### Triage
* *measure is skipped*: nothing was ingested or promoted yet;
* *request_retraining is skipped*: no limit is breached, or it was asked before, as its XCom `skip_reason` says;
* *too many requests, or none*: change the params; an empty param takes the default of the job, shown by
  `otaku drift --help`. 0.1 and 0.25 are the usual limits of the population stability index.
"""


@dag(
    **DAG_POLICY,
    schedule=CronDataIntervalTimetable("10 22 * * *", timezone="UTC"),
    params={
        "dry_run": Param(False, type="boolean", description="measure, but write no row and request no retraining"),
        "window_days": Param(None, type=["null", "integer"], minimum=1, description="compare users of these last days"),
        "rest_days": Param(None, type=["null", "integer"], minimum=1, description="days between two requests"),
        "psi": Param(
            None, type=["null", "number"], exclusiveMinimum=0, description="limit of the population stability index"
        ),
        "unknown_share": Param(
            None, type=["null", "number"], minimum=0, maximum=1, description="limit of the share of unknown titles"
        ),
        "age_days": Param(None, type=["null", "integer"], minimum=1, description="limit of the age of the model"),
    },
    tags=["otaku", "daily", "monitoring"],
    description="Compare recent users with the training data; request a retraining if they differ",
    doc_md=DOC,
)
def monitor_drift() -> None:
    """Measure drift; request a retraining if a limit is breached."""

    @task
    def measure() -> dict[str, Any]:
        """Measure drift as of the run's day."""
        context = get_current_context()
        given = {name: value for name, value in context["params"].items() if name != "dry_run" and value is not None}
        options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
        dry_run = ["--dry-run"] if context["params"]["dry_run"] else []
        row = run_job("retrain_model.drift", "--day", finished_day_of_run(context), *options, *dry_run)
        keep_references(context, row.pop("references"))
        mine = is_of_this_run(context, is_new=row["is_new"], changed_at=row["measured_at"])
        return {name: row[name] for name in ("day", "retraining_wanted", "reason", "report_uri")} | {"is_new": mine}

    @task(outlets=[DRIFT])
    def request_retraining(row: Any) -> None:
        """Update the asset that `retrain_model` waits for."""
        context = get_current_context()
        wanted = row["retraining_wanted"] and row["is_new"] and not context["params"]["dry_run"]
        announce(context, DRIFT, n_rows=int(wanted), result=None, unchanged=row["reason"], day=row["day"])
        notify(context, "drift", f"drift of {row['day']}: a retraining is requested", row["reason"])

    measured: Any = measure()
    request: Any = request_retraining(measured)
    add_links((measured.operator, request.operator), DRIFT_LINKS)


monitor_drift()
