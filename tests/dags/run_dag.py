"""Run DAGs with `dag.test()`, several in a row, and write as JSON how their tasks ended and what they returned."""

import json
import os
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


class Absent:
    """Makes packages as if they were not installed."""

    def __init__(self, names: list[str]) -> None:
        self._names = set(names)

    def find_spec(self, name: str, *_: Any) -> None:
        if name.split(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(dags: Path, request: str, output: Path) -> None:
    """Run DAGs one after the other.

    `request` is JSON: `runs`, each with `dag_id`, `logical_date`, `conf` and `environment`; `retry`; and `without`,
    packages that this Python lacks.
    """
    wanted = json.loads(request)
    sys.meta_path.insert(0, Absent(wanted["without"]))
    os.environ.update(wanted["runs"][0]["environment"])
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder")
    before, results = dict(os.environ), []
    for run in wanted["runs"]:
        dag = bag.dags[run["dag_id"]]
        if not wanted["retry"]:
            for operator in dag.tasks:
                operator.retries = 0
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before | run["environment"])
        results.append(run_once(dag, run["logical_date"], run["conf"]))
    output.write_text(json.dumps(results, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
