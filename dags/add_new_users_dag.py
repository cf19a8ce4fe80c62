"""The daily DAG: new users."""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task

from otaku_assets import announce, is_of_this_run
from otaku_jobs import run_job
from otaku_policy import CATCH_UP, DAG_POLICY, RATINGS, build_deadline, day_of_run
from otaku_references import keep_references

DOC = """
### What
Adds a cohort of users from `future_users` to `users`, `ratings` and `user_preferences`, in one transaction with its
row in `arrivals`.

### When
Every day at 21:50 UTC, for the day that ends its data interval. Days that were missed while Airflow was off
are made up for, and days can be backfilled in any order.

### Idempotency
The cohort is a function of the day alone, and a day that has its row in `arrivals` is left as it is: a second run,
concurrent runs and a run after a crash end with the same tables.

### Triage
* *a service is down*: nothing was written; the task is retried, or clear it later;
* *skipped*: no rating was added: nothing was ingested yet (`otaku ingest DIR`), the day had arrived, or a dry run;
* *cohort size*: `OTAKU_COHORT_MIN` and `OTAKU_COHORT_MAX`, the same for all days;
* *the queue starts later*: scheduled days before the first ingest are skipped; backfills and triggers replay the past
  as long as nobody has arrived;
* *late*: an alert tells of a scheduled run that has not ended at 23:00 UTC;
* *preview*: trigger with `dry_run` and read the return value of the task.
"""


@dag(
    **{**DAG_POLICY, "catchup": CATCH_UP},
    schedule=CronDataIntervalTimetable("50 21 * * *", timezone="UTC"),
    params={"dry_run": Param(False, type="boolean", description="report who would arrive, write nothing")},
    deadline=build_deadline("EndOfArrivals", "the arrivals of the day should have ended by 23:00 UTC"),
    tags=["otaku", "daily", "arrivals"],
    description="Add a cohort of new users",
    doc_md=DOC,
)
def add_new_users() -> None:
    """Add new users to the database."""

    @task(outlets=[RATINGS])
    def add_cohort() -> dict[str, Any]:
        """Add the cohort of the run's day."""
        context = get_current_context()
        options = ["--dry-run"] if context["params"]["dry_run"] else []
        options += ["--scheduled"] if context["dag_run"].run_type == "scheduled" else []
        report: dict[str, Any] = run_job("simulate_new_users", "--json", "--day", day_of_run(context), *options)
        keep_references(context, report.pop("references"))
        mine = is_of_this_run(context, is_new=not report["already_arrived"], changed_at=report["arrived_at"])
        n_rows = report["n_ratings"] if mine and not report["dry_run"] else 0
        days = {"day": report["day"], "n_users": report["n_users"]}
        return announce(context, RATINGS, n_rows=n_rows, result=report, unchanged=report["sentence"], **days)

    add_cohort()


add_new_users()
