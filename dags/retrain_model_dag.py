"""The weekly DAG: train a challenger and let the gate decide."""

import json
import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, Param, chain, dag, get_current_context, task

from otaku_jobs import run_job
from otaku_policy import DAG_POLICY, DRIFT, PRODUCTION_MODEL, TRAINING_POOL, day_of_run

DOC = """
### What
Trains a challenger, compares it with the champion on the same held-out users, and promotes it if it passes the gate.

### When
Every Sunday at 22:30 UTC on the data as of then, and when `monitor_drift` requests it, for the day of the report.

### Idempotency
Every step reads and writes under `retrain/<as_of>/` and skips finished work; a promotion is unique by the key of the
run in `decisions`. Any task can be cleared, killed or run concurrently.

### Triage
* *promote is skipped*: the gate decided to keep the champion; the reason is in the log of `gate` and in `decisions`;
* *all tasks are skipped*: nothing was ingested yet (`otaku ingest DIR`);
* *a service is down*: the task is retried and continues where it stopped;
* *another version was promoted meanwhile*: `promote` or `keep` fails at once; clear `evaluate` and all that follows;
* *the version in Production was deleted*: `otaku models rollback` or `promote VERSION`, then clear `evaluate`;
* *the decision was wrong*: `otaku models rollback --reason TEXT` restores the previous version.
"""


def run_step(name: str) -> Any:
    """Run one step of `retrain_model` for the run's day, preset and rules of the gate."""
    context = get_current_context()
    preset, rules = context["params"]["preset"], json.dumps(context["params"]["gate"])
    return run_job("retrain_model", name, "--as-of", day_of_run(context), "--preset", preset, "--gate", rules)


@dag(
    **DAG_POLICY,
    schedule=AssetOrTimeSchedule(timetable=CronDataIntervalTimetable("30 22 * * 0", timezone="UTC"), assets=[DRIFT]),
    params={
        "preset": Param("default", enum=["default", "original"], description="hyper-parameters of the ranker"),
        "gate": Param({}, type="object", description='rules that differ from OTAKU_GATE_*: {"margin": 0.02}'),
        "dry_run": Param(False, type="boolean", description="train and evaluate, but promote nothing"),
    },
    tags=["otaku", "weekly", "training"],
    description="Train a challenger; promote it if it passes the gate",
    doc_md=DOC,
)
def retrain_model() -> None:
    """Train, evaluate, and promote or keep."""

    def step(name: str, doc: str, hours: int = 1, **options: Any) -> Any:
        return task(task_id=name, doc_md=doc, execution_timeout=timedelta(hours=hours), **options)(run_step)(name)

    @task.branch
    def gate() -> str | None:
        """Decide on the challenger and return the task that follows: none in a dry run."""
        decision = run_step("gate")
        logging.getLogger(__name__).info("the gate decided %s: %s", decision["action"], decision["reason"])
        return None if get_current_context()["params"]["dry_run"] else str(decision["action"])

    chain(
        step("snapshot", "Write a snapshot of the tables as of the day of the run."),
        step("embed_text", "Encode new and changed synopses.", 3, pool=TRAINING_POOL),
        step("fit_retrieval", "Fit the candidate generators on the training users.", 3, pool=TRAINING_POOL),
        step("train_ranker", "Train both heads of the ranker.", 3, pool=TRAINING_POOL),
        step("evaluate", "Evaluate challenger and champion on the same held-out users."),
        gate(),
        [
            step("promote", "Move the alias and write to the ledger.", outlets=[PRODUCTION_MODEL]),
            step("keep", "Write to the ledger that the champion stays."),
        ],
    )


retrain_model()
