"""What the DAG files hold, read by Airflow itself: structure, schedule and the policy that every task obeys."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from recsys.ranking.params import PRESETS
from retrain_model.drift.options import build_rules

DAGS = Path(__file__).resolve().parents[2] / "dags"

STRUCTURE = {
    "ingest_feedback": {"fold_feedback": []},
    "add_new_users": {"add_cohort": []},
    "monitor_drift": {"measure": ["request_retraining"], "request_retraining": []},
    "retrain_model": {
        "snapshot": ["embed_text"],
        "embed_text": ["fit_retrieval"],
        "fit_retrieval": ["train_ranker"],
        "train_ranker": ["evaluate"],
        "evaluate": ["gate"],
        "gate": ["approve", "keep", "promote"],
        "approve": ["keep", "promote"],
        "promote": [],
        "keep": [],
    },
}
SCHEDULES = {
    "ingest_feedback": "CronDataIntervalTimetable 40 21 * * * UTC",
    "add_new_users": "CronDataIntervalTimetable 50 21 * * * UTC",
    "monitor_drift": "CronDataIntervalTimetable 10 22 * * * UTC",
    "retrain_model": "CronDataIntervalTimetable 30 22 * * 0 UTC or otaku.drift",
}
OUTLETS = {
    "fold_feedback": ["otaku.ratings"],
    "add_cohort": ["otaku.ratings"],
    "request_retraining": ["otaku.drift"],
    "promote": ["otaku.production_model"],
}
HEAVY = {
    *("boto3", "fastapi", "implicit", "lightfm", "lightgbm", "matplotlib", "mlflow", "numpy", "pandas", "psycopg2"),
    *("pyarrow", "scipy", "sentence_transformers", "sklearn", "torch"),
    *("app", "otaku", "recsys", "retrain_model", "simulate_new_users"),
}
DAG_FILES = sorted(DAGS.glob("*_dag.py"))


def test_every_file_loads_without_error_or_warning(bag: dict[str, Any]) -> None:
    assert bag["import_errors"] == {}
    assert bag["warnings"] == {}


def test_structure(bag: dict[str, Any]) -> None:
    found = {
        dag_id: {task_id: task["downstream"] for task_id, task in dag["tasks"].items()}
        for dag_id, dag in bag["dags"].items()
    }
    assert found == STRUCTURE


@pytest.mark.parametrize("dag_id", STRUCTURE)
def test_dag_policy(bag: dict[str, Any], dag_id: str) -> None:
    dag = bag["dags"][dag_id]
    assert dag["schedule"] == SCHEDULES[dag_id]
    assert dag["start_date"] == "2026-01-05T00:00:00+00:00"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert "otaku" in dag["tags"]
    headings = [line.removeprefix("### ") for line in dag["doc"].splitlines() if line.startswith("### ")]
    assert headings == ["What", "When", "Idempotency", "Triage"]
    assert dag["params"]["dry_run"]["type"] == "boolean"
    assert all("type" in schema or "enum" in schema for schema in dag["params"].values())


@pytest.mark.parametrize(
    ("dag_id", "task_id"), [(dag_id, task) for dag_id, tasks in STRUCTURE.items() for task in tasks]
)
def test_task_policy(bag: dict[str, Any], dag_id: str, task_id: str) -> None:
    task = bag["dags"][dag_id]["tasks"][task_id]
    assert task["owner"] == "otaku"
    assert task["retries"] >= 2
    assert task["exponential_backoff"]
    assert task["fails_fast"]
    assert 0 < task["timeout_seconds"] <= 3 * 3600
    assert task["on_failure"] == ["log_failure", "notify_failure"]
    assert (task["on_retry"], task["on_skipped"]) == (["log_failure"], ["notify_quiet_week"])
    assert task["doc"]


def test_arrivals_and_retrainings_have_a_deadline(bag: dict[str, Any]) -> None:
    deadlines = {dag_id: dag["deadlines"] for dag_id, dag in bag["dags"].items() if dag["deadlines"]}
    assert deadlines == {"add_new_users": ["EndOfArrivals"], "retrain_model": ["TwiceTheMean"]}


def test_training_shares_one_pool(bag: dict[str, Any]) -> None:
    pools = {task_id: task["pool"] for task_id, task in bag["dags"]["retrain_model"]["tasks"].items()}
    assert {task_id for task_id, pool in pools.items() if pool == "training"} == {
        "embed_text",
        "fit_retrieval",
        "train_ranker",
    }


def test_assets_tell_what_changed(bag: dict[str, Any]) -> None:
    tasks = {task_id: task for dag in bag["dags"].values() for task_id, task in dag["tasks"].items()}
    assert {task_id: task["outlets"] for task_id, task in tasks.items() if task["outlets"]} == OUTLETS


def test_assets_have_an_address_a_group_and_a_description(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        for task in dag["tasks"].values():
            for name, (uri, group, extra) in zip(task["outlets"], task["assets"], strict=True):
                assert (uri, group) == (name.replace("otaku.", "x-otaku://"), "otaku")
                assert extra["description"]


def test_tasks_link_to_what_they_made(bag: dict[str, Any]) -> None:
    links = {dag_id: {tuple(task["links"]) for task in dag["tasks"].values()} for dag_id, dag in bag["dags"].items()}
    assert links["retrain_model"] == {("MLflow run", "Model version", "Snapshot")}
    assert links["monitor_drift"] == {("Drift report", "Model version")}


def test_defaults_of_a_job_stand_in_the_job_alone(bag: dict[str, Any]) -> None:
    drift = {name: found["default"] for name, found in bag["dags"]["monitor_drift"]["params"].items()}
    assert drift == {"dry_run": False, **dict.fromkeys(inspect.signature(build_rules).parameters)}
    arrivals = {name: found["default"] for name, found in bag["dags"]["add_new_users"]["params"].items()}
    assert arrivals == {"dry_run": False}


def test_presets_of_the_dag_are_those_of_the_ranker(bag: dict[str, Any]) -> None:
    preset = bag["dags"]["retrain_model"]["params"]["preset"]
    assert preset["enum"] == list(PRESETS)
    assert preset["default"] in PRESETS


def test_parsing_is_quick_and_imports_nothing_heavy(bag: dict[str, Any]) -> None:
    assert set(bag["parse_seconds"]) == {path.name for path in DAG_FILES}
    assert max(bag["parse_seconds"].values()) < 1
    # Airflow looks up the exceptions that the retry policy names; they import nothing.
    own = {"recsys", "recsys.exceptions"}
    assert HEAVY.isdisjoint({module.split(".")[0] for module in bag["new_modules"] if module not in own})


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.name)
def test_file_is_thin_and_has_no_clock_of_its_own(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 80
    names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert names.isdisjoint({"now", "today", "utcnow"})
