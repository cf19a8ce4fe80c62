"""Run MLflow's server in one process: `python -P mlflow_server.py PORT ARTIFACT_ROOT`, in a cluster as a module.

The same application as `mlflow server --workers 1 --no-serve-artifacts`, which would import everything twice: once in
the command, once in the worker it watches. Here the guard watches. The backend store comes from
MLFLOW_BACKEND_STORE_URI, user and password of its clients from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Create or check the tables, then serve until a signal to stop; by default on the loopback interface alone."""
    options = parse(arguments)
    port, artifact_root = options.port, options.artifact_root
    import uvicorn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside MLflow, nothing a reader of the log can change
        from mlflow.server import constants
        from mlflow.server.handlers import initialize_backend_stores

        database_url = os.environ["MLFLOW_BACKEND_STORE_URI"]
        os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = database_url
        os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifact_root
        os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = options.allowed_hosts or f"127.0.0.1:{port},localhost:{port}"
        initialize_backend_stores(database_url, database_url, artifact_root)
        from mlflow.server.fastapi_app import app

    from otaku.platform.mlflow_guard import MlflowGuard

    user, password = os.environ.pop("MLFLOW_TRACKING_USERNAME"), os.environ.pop("MLFLOW_TRACKING_PASSWORD")
    guarded = MlflowGuard(app, user=user, password=password, artifact_root=artifact_root)
    uvicorn.run(guarded, host=options.host, port=port, log_level="warning", access_log=False)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read where to listen and where artefacts are kept."""
    parser = argparse.ArgumentParser(
        prog="python -m otaku.platform.mlflow_server", description="Serve MLflow, guarded."
    )
    parser.add_argument("port", type=int)
    parser.add_argument(
        "artifact_root", help="the only place below which artefacts are kept, such as s3://otaku/mlflow"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address on which to listen")
    parser.add_argument("--allowed-hosts", help="comma-separated hosts that requests may name; loopback by default")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
