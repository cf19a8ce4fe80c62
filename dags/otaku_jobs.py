"""Run a job of the platform from a task: in its process, or with another Python, with the same arguments.

Where `OTAKU_TASK_PYTHON` names an interpreter, tasks start `INTERPRETER -m JOB ...` there and Airflow's own environment
needs none of the packages of the platform. Services come from the environment; where it names no database or S3
server, from the Airflow connections `otaku_db` and `otaku_s3`.
"""

import hashlib
import importlib
import json
import logging
import os
import subprocess
import tempfile
from typing import Any

from airflow.sdk import Connection, get_current_context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
)

from otaku_assets import skip

log = logging.getLogger(__name__)

TASK_PYTHON = "OTAKU_TASK_PYTHON"
WRONG_USAGE, NOTHING_TO_DO = 2, 99


def run_job(module: str, *arguments: object) -> Any:
    """Run `python -m MODULE ARGUMENTS` and return its result.

    Raises
    ------
    AirflowSkipException
        Nothing to work on yet: nothing was ingested, or nothing promoted.
    """
    os.environ.update(read_connections())
    os.environ["TRACEPARENT"] = find_traceparent()
    words = [str(argument) for argument in arguments]
    python = os.environ.get(TASK_PYTHON)
    return _run_subprocess(python, module, words) if python else _run_in_process(module, words)


def find_traceparent() -> str:
    """Find the trace of the DAG run: the one that asked for it, or one that all its tasks derive from its id."""
    run = get_current_context()["dag_run"]
    digest = hashlib.sha256(f"{run.dag_id} {run.run_id}".encode()).hexdigest()
    return str((run.conf or {}).get("traceparent") or f"00-{digest[:32]}-{digest[32:48]}-01")


def read_connections() -> dict[str, str]:
    """Read the addresses of database and S3 from Airflow connections if the environment has none."""
    found: dict[str, str | None] = {}
    if "OTAKU_DATABASE_URL" not in os.environ and (database := _find_connection("otaku_db")):
        found["OTAKU_DATABASE_URL"] = f"postgresql://{database.get_uri().split('://', 1)[1]}"
    if "OTAKU_S3_ENDPOINT_URL" not in os.environ and (store := _find_connection("otaku_s3")):
        extra = store.extra_dejson
        service = extra.get("service_config", {}).get("s3", {})
        found["OTAKU_S3_ENDPOINT_URL"] = service.get("endpoint_url") or extra.get("endpoint_url")
        found["OTAKU_S3_BUCKET"] = service.get("bucket_name")
        found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"] = store.login, store.password
    return {name: value for name, value in found.items() if value}


def _find_connection(name: str) -> Any:
    try:
        return Connection.get(name)
    except AirflowNotFoundException:
        return None


def _run_in_process(module: str, arguments: list[str]) -> Any:
    entry = importlib.import_module(f"{module}.__main__")
    from recsys.exceptions import RecsysError, compute_exit_code

    try:
        return entry.run(arguments)
    except SystemExit as stopped:
        raise AirflowFailException(f"wrong usage of {module}: {' '.join(arguments)}") from stopped
    except RecsysError as error:
        if compute_exit_code(error) == NOTHING_TO_DO:
            skip(get_current_context(), str(error))
        raise


def _run_subprocess(python: str, module: str, arguments: list[str]) -> Any:
    """Log stderr of the job line by line; its last line is the reason of a failure or skip."""
    command = [python, "-m", module, *arguments]
    log.info("running %s", " ".join(command))
    last = ""
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True) as process,  # noqa: S603
    ):
        try:
            for line in process.stderr or ():
                last = line.strip() or last
                log.info("%s", line.rstrip())
            code = process.wait()
        except BaseException:  # a timeout, or a task marked by a user: the job ends with the task
            process.kill()
            raise
        output.seek(0)
        result = output.read()
    if code == 0:
        return json.loads(result)
    if code == NOTHING_TO_DO:
        skip(get_current_context(), last)
    raise (AirflowFailException if code == WRONG_USAGE else AirflowException)(last or f"{module} ended with {code}")
