"""Run DAGs with `dag.test()`, several in a row, and write as JSON how their tasks ended and what they returned.

With a folder of DAG files alone it serves: Airflow is imported once, and each line on stdin, `{"request", "output",
"log"}`, runs in a fork whose exit code is answered. With a request and an output it runs once and exits.
"""

import gc
import importlib
import json
import multiprocessing
import os
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any


def run_once(dag: Any, logical_date: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Run one DAG run to its end, without deadlines, which `dag.test()` cannot read (apache/airflow#73428)."""
    dag.deadline = None
    run = dag.test(logical_date=datetime.fromisoformat(logical_date), run_conf=conf)
    instances = run.get_task_instances()
    return {
        "state": str(run.state),
        "tasks": {instance.task_id: str(instance.state) for instance in instances},
        "tries": {instance.task_id: instance.try_number for instance in instances},
        "events": read_events(run.run_id, dag.dag_id),
        "skipped": {
            instance.task_id: instance.xcom_pull(task_ids=instance.task_id, key="skip_reason")
            for instance in instances
            if instance.state == "skipped"
        },
        "links": {
            instance.task_id: {
                key.removeprefix("_link_"): instance.xcom_pull(task_ids=instance.task_id, key=key) or None
                for key in ("_link_RunLink", "_link_VersionLink", "_link_SnapshotLink", "_link_DriftLink")
            }
            for instance in instances
        },
        "returned": {instance.task_id: instance.xcom_pull(task_ids=instance.task_id) for instance in instances},
    }


def fail_with(module: str, error: str) -> None:
    """Let a job raise an error, named by its class."""
    entry, (package, _, name) = importlib.import_module(f"{module}.__main__"), error.rpartition(".")
    raised = getattr(importlib.import_module(package), name)

    def fail(_arguments: list[str]) -> None:
        raise raised("as a test wants it")

    vars(entry)["run"] = fail


def read_events(run_id: str, dag_id: str) -> dict[str, Any]:
    """Read what the asset events of a run carry, by the name of the asset."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        mine = (AssetEvent.source_run_id == run_id, AssetEvent.source_dag_id == dag_id)
        return {event.asset.name: event.extra for event in session.scalars(select(AssetEvent).where(*mine))}


# What a run imports beside the files themselves, but for what reads its settings when it is imported.
AIRFLOW = (
    "airflow.api.common.trigger_dag",
    "airflow.api_fastapi.execution_api.app",
    "airflow.dag_processing.dagbag",
    "airflow.models.dagbag",
    "airflow.models.serialized_dag",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.execution_time.task_runner",
    "openlineage.client",
)


class Absent:
    """Makes packages as if they were not installed."""

    def __init__(self, names: list[str]) -> None:
        self._names = set(names)

    def find_spec(self, name: str, *_: Any) -> None:
        if name.split(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(dags: Path, request: str, output: Path) -> None:
    """Run DAGs one after the other.

    `request` is JSON: `runs`, each with `dag_id`, `logical_date`, `conf` and `environment`; `retry`; `without`,
    packages that this Python lacks; and `raises`, for each run a job and the error that it ends with.
    """
    wanted = json.loads(request)
    sys.meta_path.insert(0, Absent(wanted["without"]))
    os.environ.update(wanted["runs"][0]["environment"])
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder")
    # Retrainings collect garbage at each step, among whatever is there.
    gc.freeze()
    before: dict[str, str] = dict(os.environ)
    results: list[dict[str, Any]] = []
    for number, run in enumerate(wanted["runs"]):
        if wanted.get("raises"):
            fail_with(*wanted["raises"][number])
        dag = bag.dags[run["dag_id"]]
        if not wanted["retry"]:
            for operator in dag.tasks:
                operator.retries = 0
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before | run["environment"])
        results.append(run_once(dag, run["logical_date"], run["conf"]))
    output.write_text(json.dumps(results, default=str), encoding="utf-8")


def serve(dags: Path) -> None:
    """Fork for each request until stdin ends."""
    for name in AIRFLOW:
        importlib.import_module(name)
    from airflow.sdk.execution_time.supervisor import in_process_api_server
    from sqlalchemy.orm import configure_mappers

    # Both would be built by the first task of each run: tables, and the routes of every version of the API of tasks.
    configure_mappers()
    in_process_api_server().app._cadwyn_initialize()
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.warm_imports import import_heavy_modules

    import_heavy_modules()
    sys.path.pop(0)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(log, 1)
                os.dup2(log, 2)
                main(dags, order["request"], Path(order["output"]))
                code = 0
            except BaseException:  # noqa: BLE001 - the parent shows the log
                traceback.print_exc()
            finally:
                # Workers of OpenLineage, which this way of ending would leave behind.
                for worker in multiprocessing.active_children():
                    worker.kill()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
