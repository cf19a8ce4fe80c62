"""The MLflow server: runs and models in PostgreSQL, artefacts in S3, reached by the clients themselves."""

import hashlib
import hmac
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

from pydantic import SecretStr

from otaku.platform import mlflow_server, object_store, postgres
from otaku.platform.environment import settings_environment
from otaku.platform.part import Part, Site
from otaku.platform.state import Credentials
from otaku.platform.supervisor import Service
from recsys.settings import Settings

NAME = "mlflow"
USER = "otaku"
DATABASE = "mlflow"


def _describe(site: Site, port: int) -> Service:
    given = site.settings.database_url
    server = given.get_secret_value() if given else ""
    database_url = find_backend_url(server, site.credentials)
    if database_url != server:
        postgres.create_database(server, DATABASE)
    settings = site.settings.model_copy(update=_fill(site, port))
    return service(database_url, site.settings.s3_bucket, port, settings_environment(settings))


def find_backend_url(database_url: str, credentials: Credentials) -> str:
    """Find the database of the embedded MLflow.

    On our own server MLflow gets a database of its own; on an outside one we may not create any.
    """
    own = database_url.startswith(f"postgresql://{postgres.USER}:{credentials.database_password}@")
    return postgres.sibling_database(database_url, DATABASE) if own else database_url


def _fill(site: Site, port: int) -> dict[str, object]:
    password = site.settings.mlflow_tracking_password or SecretStr(derive_password(site.credentials))
    return {
        "mlflow_tracking_uri": f"http://127.0.0.1:{port}",
        "mlflow_tracking_username": site.settings.mlflow_tracking_username or USER,
        "mlflow_tracking_password": password,
    }


def derive_password(credentials: Credentials) -> str:
    """Derive the password of MLflow's clients from what was generated for this home."""
    return hmac.new(credentials.secret_access_key.encode(), b"mlflow", hashlib.sha256).hexdigest()


def _problem(settings: Settings) -> str | None:
    return problem_of(settings.mlflow_tracking_uri) if settings.mlflow_tracking_uri else "not set"


def service(database_url: str, bucket: str, port: int, environment: Mapping[str, str]) -> Service:
    """Describe the server.

    Parameters
    ----------
    database_url
        The backend store; travels in the environment, where no process listing shows the password.
    environment
        The credentials of the object store, and user and password of the clients.
    """
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=NAME,
        command=(sys.executable, "-P", mlflow_server.__file__, str(port), f"s3://{bucket}/mlflow"),
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
    """Describe in one line why an MLflow server does not answer; None if it does, or when `uri` is no server."""
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5) as response:  # noqa: S310 - http(s) only
            return None if response.status == 200 else f"answers with status {response.status}"
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


PART = Part(
    *(NAME, "MLFLOW_TRACKING_URI", "mlflow_tracking_uri", _describe, _fill, _problem),
    needs=(postgres.NAME, object_store.NAME),
)
