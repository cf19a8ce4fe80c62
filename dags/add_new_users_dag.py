"""The daily DAG: users arrive."""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task

from otaku_jobs import run_job
from otaku_policy import DAG_POLICY, RATINGS, day_of_run

DOC = """
### What
A cohort of users from the pool `future_users` enters `users`, `ratings` and `user_preferences`, in one transaction
together with its row in `arrivals`.

### When
Every day at 21:50 UTC, for the day that ends its data interval. Days can be backfilled in any order.

### Idempotency
The cohort is a function of the day alone, and a day that has its row in `arrivals` is left as it is: running a day
again, twice at once, or after being killed half-way ends in the same tables.

### Triage
* *a service is away*: nothing was written; the task tries again by itself, or clear it later;
* *skipped*: nothing was ingested yet (`otaku ingest DIR`);
* *what would it do?* trigger with `dry_run`, read the task's return value.
"""


@dag(
    **DAG_POLICY,
    schedule=CronDataIntervalTimetable("50 21 * * *", timezone="UTC"),
    params={
        "dry_run": Param(False, type="boolean", description="tell who would arrive, write nothing"),
        "cohort_min": Param(10, type="integer", minimum=1, maximum=1000, description="smallest cohort of a day"),
        "cohort_max": Param(25, type="integer", minimum=1, maximum=1000, description="largest cohort of a day"),
    },
    tags=["otaku", "daily", "arrivals"],
    description="Let a cohort of users arrive",
    doc_md=DOC,
)
def add_new_users() -> None:
    """Let users arrive in the database."""

    @task(outlets=[RATINGS])
    def add_cohort() -> dict[str, Any]:
        """Add the cohort of the run's day."""
        context = get_current_context()
        params = context["params"]
        bounds = (params["cohort_min"], params["cohort_max"])
        dry_run = ["--dry-run"] if params["dry_run"] else []
        answer = run_job(
            "simulate_new_users", "--json", "--day", day_of_run(context), "--cohort-size", *bounds, *dry_run
        )
        return dict(answer)

    add_cohort()


add_new_users()
