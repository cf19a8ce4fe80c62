"""The MLflow server: runs and models in PostgreSQL, artefacts in S3, reached by the clients themselves."""

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

from otaku.platform.supervisor import Service

NAME = "mlflow"
DATABASE = "mlflow"


def service(database_url: str, bucket: str, port: int, environment: Mapping[str, str]) -> Service:
    """Describe the server.

    Parameters
    ----------
    database_url
        The backend store; travels in the environment, where no process listing shows the password.
    environment
        The credentials of the object store.
    """
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=NAME,
        command=(
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--no-serve-artifacts", "--default-artifact-root", f"s3://{bucket}/mlflow"),
            *("--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"),
        ),
        url=url,
        is_ready=lambda: problem_of(url) is None,
        environment={
            **environment,
            "MLFLOW_BACKEND_STORE_URI": database_url,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "OMP_NUM_THREADS": "1",
        },
        grace=5.0,
        timeout=180.0,
    )


def problem_of(uri: str) -> str | None:
    """Say in one line why an MLflow server does not answer; None when it does, or when `uri` is no server."""
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5) as response:  # noqa: S310 - http(s) only
            return None if response.status == 200 else f"answers with status {response.status}"
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
