"""Parse the DAG files as Airflow's DAG processor does and write what they hold as JSON.

Run as a process of its own, so that Airflow's import neither reaches nor is reached by the other tests.
"""

import json
import sys
from pathlib import Path
from typing import Any


def describe_task(operator: Any) -> dict[str, Any]:
    """Describe what the policy of the platform asks of a task."""
    return {
        "downstream": sorted(operator.downstream_task_ids),
        "owner": operator.owner,
        "retries": operator.retries,
        "exponential_backoff": bool(operator.retry_exponential_backoff),
        "fails_fast": operator.has_retry_policy,
        "timeout_seconds": operator.execution_timeout.total_seconds() if operator.execution_timeout else None,
        "logs_failure": [callback.__name__ for callback in operator.on_failure_callback],
        "pool": operator.pool,
        "doc": operator.doc_md,
        "outlets": [asset.name for asset in operator.outlets],
    }


def describe_dag(dag: Any) -> dict[str, Any]:
    """Describe what the policy of the platform asks of a DAG."""
    return {
        "schedule": f"{type(dag.timetable).__name__} {dag.timetable.expression} {dag.timetable.timezone}",
        "start_date": dag.start_date.isoformat(),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {operator.task_id: describe_task(operator) for operator in dag.tasks},
    }


def main(dags: Path, output: Path) -> None:
    """Parse, describe, write."""
    import airflow.sdk
    from airflow.dag_processing.dagbag import BundleDagBag

    # Lazy names are loaded first, so that the parse times are those of a warm DAG processor.
    for name in ("CronDataIntervalTimetable", "Param", "dag", "task", "ExceptionRetryPolicy"):
        getattr(airflow.sdk, name)
    before = set(sys.modules)
    bag = BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags")
    description = {
        "import_errors": bag.import_errors,
        "warnings": {file: list(messages) for file, messages in bag.captured_warnings.items()},
        "parse_seconds": {Path(stat.file).name: stat.duration.total_seconds() for stat in bag.dagbag_stats},
        "new_modules": sorted(set(sys.modules) - before),
        "dags": {dag_id: describe_dag(dag) for dag_id, dag in bag.dags.items()},
    }
    output.write_text(json.dumps(description), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
