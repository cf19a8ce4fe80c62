"""The weekly DAG: train a challenger and let the gate decide."""

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, Param, chain, dag, task

from otaku_approval import build_approval
from otaku_policy import AFTER_ANY, DAG_POLICY, DRIFT, PRODUCTION_MODEL, TRAINING_POOL, build_deadline
from otaku_references import RETRAINING_LINKS, add_links
from otaku_steps import decide, run_step

DOC = """
### What
Trains a challenger, compares it with the champion on the same held-out users, and promotes it if it passes the gate.

### When
Every Sunday at 22:30 UTC on the data as of then, and when `monitor_drift` requests it, for the day of the report.

### Idempotency
Every step reads and writes under `retrain/<run key>/` and skips finished work; a promotion is unique by the run key in
`decisions`. The key holds the day and a digest of code and settings: with others, `snapshot` begins another attempt.

### Triage
* *promote is skipped*: the gate kept the champion, for the reason in the log of `gate`, or an earlier run promoted;
* *approve waits*: answer under Required Actions, or `otaku models approve RUN`; after 2 days the champion stays;
* *all tasks are skipped*: nothing was ingested yet (`otaku ingest DIR`);
* *a service is down*: the task is retried and goes on; an alert tells of a run that takes twice as long as the last;
* *another version was promoted meanwhile*: clear `evaluate` and what follows; *begun with other inputs*: `snapshot`;
* *the version in Production was deleted*: `otaku models rollback` or `promote VERSION`, then clear `evaluate`;
* *the decision was wrong*: `otaku models rollback --reason TEXT` restores the previous version.
"""


@dag(
    **DAG_POLICY,
    schedule=AssetOrTimeSchedule(timetable=CronDataIntervalTimetable("30 22 * * 0", timezone="UTC"), assets=[DRIFT]),
    params={
        "preset": Param("default", enum=["default", "original"], description="hyper-parameters of the ranker"),
        "gate": Param({}, type="object", description='rules that differ from OTAKU_GATE_*: {"margin": 0.02}'),
        "approval": Param(None, enum=[None, "none", "always", "if_close"], description="what a person approves"),
        "threads": Param(None, type=["null", "integer"], minimum=1, description="instead of OTAKU_TRAIN_THREADS"),
        "train_on": Param(None, enum=[None, "local", "dask"], description="instead of OTAKU_TRAIN_ON"),
        "dry_run": Param(False, type="boolean", description="train and evaluate, but write below dry-run/ alone"),
    },
    deadline=build_deadline("TwiceTheMean", "the retraining takes more than twice the mean of its last runs"),
    tags=["otaku", "weekly", "training"],
    description="Sundays 22:30 UTC and on drift: train a challenger; promote it if it passes the gate",
    doc_md=DOC,
)
def retrain_model() -> None:
    """Train, evaluate, and promote or keep."""

    def step(name: str, doc: str, hours: int = 1, **options: Any) -> Any:
        """Declare the task of a step."""
        return task(task_id=name, doc_md=doc, execution_timeout=timedelta(hours=hours), **options)(run_step)(name)

    @task.branch
    def gate() -> str | None:
        """Decide on the challenger and return the task that follows."""
        return decide()

    decided, approve = gate(), build_approval("approve")
    verdicts = [
        step("promote", "Move the alias and write to the ledger.", outlets=[PRODUCTION_MODEL], trigger_rule=AFTER_ANY),
        step("keep", "Write to the ledger that the champion stays.", trigger_rule=AFTER_ANY),
    ]
    decided >> verdicts
    fitted = [
        step("snapshot", "Write a snapshot of the tables as of the day of the run."),
        step("embed_text", "Encode new and changed synopses.", 3, pool=TRAINING_POOL),
        step("fit_retrieval", "Fit the candidate generators on the training users.", 3, pool=TRAINING_POOL),
        step("train_ranker", "Train both heads of the ranker.", 3, pool=TRAINING_POOL),
        step("evaluate", "Evaluate challenger and champion on the same held-out users."),
    ]
    chain(*fitted, decided, approve, verdicts)
    add_links([*(found.operator for found in (*fitted, decided, *verdicts)), approve], RETRAINING_LINKS)


retrain_model()
