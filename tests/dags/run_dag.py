"""Run a DAG with `dag.test()`, several times in a row, and write as JSON how its tasks ended and what they returned."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any


def run_once(dag: Any, logical_date: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Run one DAG run to its end."""
    run = dag.test(logical_date=datetime.fromisoformat(logical_date), run_conf=conf)
    instances = run.get_task_instances()
    return {
        "state": str(run.state),
        "tasks": {instance.task_id: str(instance.state) for instance in instances},
        "tries": {instance.task_id: instance.try_number for instance in instances},
        "returned": {instance.task_id: instance.xcom_pull(task_ids=instance.task_id) for instance in instances},
    }


def main(dags: Path, dag_id: str, request: str, output: Path) -> None:
    """Load the DAG and run it; `request` is JSON: `runs`, pairs of logical date and conf, and `retry`."""
    from airflow.dag_processing.dagbag import BundleDagBag

    wanted = json.loads(request)
    dag = BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder").dags[dag_id]
    if not wanted["retry"]:
        for operator in dag.tasks:
            operator.retries = 0
    runs = [run_once(dag, logical_date, conf) for logical_date, conf in wanted["runs"]]
    output.write_text(json.dumps(runs, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
