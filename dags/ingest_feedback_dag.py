"""The daily DAG before arrivals: what users rated in the service becomes what models learn from."""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from otaku_jobs import run_job
from otaku_policy import DAG_POLICY, RATINGS, day_of_run

DOC = """
### What
Takes the ratings of the table `feedback` over into `ratings` and computes the `user_preferences` of these users anew,
in one transaction. Dismissals stay in `feedback`, where the service reads them; so do clicks and impressions.

### When
Every day at 21:40 UTC, before the arrivals. A run takes over all that waits, whatever day it stands for.

### Idempotency
How far it came is written to `feedback_folds` in the same transaction: a second run finds nothing new, and of two at
once the second waits for the first. Of several ratings of a title by one user the last one given holds.

### Triage
* *skipped*: no feedback was waiting;
* *a service is away*: nothing was written; the task tries again by itself, or clear it later;
* *what would it do?* trigger with `dry_run`, read the task's return value.
"""


@dag(
    **DAG_POLICY,
    schedule=CronDataIntervalTimetable("40 21 * * *", timezone="UTC"),
    params={"dry_run": Param(False, type="boolean", description="tell what would be taken over, write nothing")},
    tags=["otaku", "daily", "feedback"],
    description="Take the ratings given in the service over into the data",
    doc_md=DOC,
)
def ingest_feedback() -> None:
    """Learn from feedback."""

    @task(outlets=[RATINGS])
    def fold_feedback() -> dict[str, Any]:
        """Write waiting ratings into the tables that models learn from."""
        context = get_current_context()
        dry_run = ["--dry-run"] if context["params"]["dry_run"] else []
        report = run_job("retrain_model.feedback", "--day", day_of_run(context), *dry_run)
        if not report["n_feedback"]:
            raise AirflowSkipException(f"no feedback is waiting after event {report['last_feedback_id']}")
        return dict(report)

    fold_feedback()


ingest_feedback()
