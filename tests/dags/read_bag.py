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
        "on_failure": [callback.__name__ for callback in operator.on_failure_callback],
        "on_skipped": [callback.__name__ for callback in operator.on_skipped_callback],
        "on_retry": [callback.__name__ for callback in operator.on_retry_callback],
        "pool": operator.pool,
        "doc": operator.doc_md,
        "outlets": [asset.name for asset in operator.outlets],
        "assets": [(asset.uri, asset.group, asset.extra) for asset in operator.outlets],
        "links": [link.name for link in operator.operator_extra_links],
    }


def describe_schedule(timetable: Any) -> str:
    """Describe when runs come."""
    if type(timetable).__name__ == "AssetOrTimeSchedule":
        names = [asset.name for asset in timetable.asset_condition.objects]
        return f"{describe_schedule(timetable.timetable)} or {' and '.join(names)}"
    return f"{type(timetable).__name__} {timetable.expression} {timetable.timezone}"


def describe_dag(dag: Any) -> dict[str, Any]:
    """Describe what the policy of the platform asks of a DAG."""
    return {
        "schedule": describe_schedule(dag.timetable),
        "start_date": dag.start_date.isoformat(),
        "catchup": dag.catchup,
        "deadlines": [alert.reference.reference_name for alert in dag.deadline or []],
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "params": {name: {"default": dag.params[name], **dag.params.get_param(name).schema} for name in dag.params},
        "tasks": {operator.task_id: describe_task(operator) for operator in dag.tasks},
    }


def main(dags: Path, output: Path) -> None:
    """Parse, describe, write."""
    import airflow.sdk
    from airflow.dag_processing.dagbag import BundleDagBag

    # Lazy names are loaded first, so that the parse times are those of a warm DAG processor.
    for name in (
        "AssetOrTimeSchedule",
        "Connection",
        "CronDataIntervalTimetable",
        "Param",
        "dag",
        "task",
        "ExceptionRetryPolicy",
    ):
        getattr(airflow.sdk, name)
    before = set(sys.modules)
    # Three times, as a processor does all day: the quickest is what a warm one needs on a machine that is not busy.
    bags = [BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags") for _ in range(3)]
    bag = bags[0]
    seconds: dict[str, list[float]] = {}
    for stat in (stat for found in bags for stat in found.dagbag_stats):
        seconds.setdefault(Path(stat.file).name, []).append(stat.duration.total_seconds())
    description = {
        "import_errors": bag.import_errors,
        "warnings": {file: list(messages) for file, messages in bag.captured_warnings.items()},
        "parse_seconds": {name: min(values) for name, values in seconds.items()},
        "new_modules": sorted(set(sys.modules) - before),
        "dags": {dag_id: describe_dag(dag) for dag_id, dag in bag.dags.items()},
    }
    output.write_text(json.dumps(description), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
