"""The daily DAG before arrivals: ratings given in the service become training data."""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task

from otaku_assets import announce, is_of_this_run
from otaku_jobs import run_job
from otaku_policy import DAG_POLICY, RATINGS, day_of_run
from otaku_references import keep_references

DOC = """
### What
Writes the new ratings of the table `feedback` into `ratings` and recomputes the `user_preferences` of these users, in
one transaction. Dismissals, clicks and impressions stay in `feedback`; the service reads dismissals there.

### When
Every day at 21:40 UTC, before the arrivals. A run ingests all new feedback, whatever its day.

### Idempotency
The last ingested event is written to `feedback_folds` in the same transaction: a second run finds nothing new, and of
two concurrent runs the second waits for the first. Of several ratings of a title by one user the last one counts.

### Triage
* *skipped*: no rating changed: there was no new feedback, or it is a dry run;
* *a service is down*: nothing was written; the task is retried, or clear it later;
* *preview*: trigger with `dry_run` and read the return value of the task.
"""


@dag(
    **DAG_POLICY,
    schedule=CronDataIntervalTimetable("40 21 * * *", timezone="UTC"),
    params={"dry_run": Param(False, type="boolean", description="report what would be ingested, write nothing")},
    tags=["otaku", "daily", "feedback"],
    description="Ingest the ratings given in the service",
    doc_md=DOC,
)
def ingest_feedback() -> None:
    """Ingest feedback."""

    @task(outlets=[RATINGS])
    def fold_feedback() -> dict[str, Any]:
        """Write new ratings into the tables of the training data."""
        context = get_current_context()
        dry_run = ["--dry-run"] if context["params"]["dry_run"] else []
        report: dict[str, Any] = run_job("retrain_model.feedback", "--day", day_of_run(context), *dry_run)
        keep_references(context, report.pop("references"))
        last = report["last_fold"] or {"at": None, "n_ratings": 0}
        mine = is_of_this_run(context, is_new=report["n_feedback"] > 0, changed_at=last["at"])
        changed = report["n_ratings"] + report["n_statuses"] if report["n_feedback"] else last["n_ratings"]
        n_rows = changed if mine and not report["dry_run"] else 0
        return announce(context, RATINGS, n_rows=n_rows, result=report, unchanged=report["sentence"], day=report["day"])

    fold_feedback()


ingest_feedback()
