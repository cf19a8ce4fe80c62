"""One MLflow server and the S3 places that it gives out."""

import copy
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from recsys.exceptions import ConfigurationError, RegistryError, ServiceUnavailableError
from recsys.storage.artifacts import ArtifactStore

EXPERIMENT = "retrain_model"
RUN_KEY_TAG = "otaku.run_key"
DIGEST_TAG = "otaku.digest"
MODEL_TAG = "otaku.model_name"
# Where the recommender's own files lie inside a version; the rest is MLflow's description of them.
DATA = "data/recommender"

# Codes of requests that MLflow refuses whenever they are made; all others may pass later.
REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "ENDPOINT_NOT_FOUND",
        "FEATURE_DISABLED",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
        "UNAUTHENTICATED",
    }
)

# A server that is down is noticed after seconds, not after the four minutes of MLflow's defaults.
_CALM = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowConnection:
    """What runs and versions share: the client, and the way from an artefact URI to S3.

    Parameters
    ----------
    tracking_uri
        Address of the MLflow server.
    model_name
        Name of the registered model.
    store
        S3 with its credentials; a new experiment keeps its files under `mlflow/` of this bucket, one that stands
        keeps the bucket that it was created with.
    """

    def __init__(self, tracking_uri: str, model_name: str, store: ArtifactStore) -> None:
        for name, value in _CALM.items():
            os.environ.setdefault(name, value)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self._store = store
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            try:
                return str(self._client.create_experiment(EXPERIMENT, self._store.uri("mlflow")))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise ConfigurationError(f"the experiment {EXPERIMENT!r} was deleted in MLflow; restore it there")
        return str(experiment.experiment_id)

    def _place(self, uri: str) -> tuple[ArtifactStore, str]:
        """Return the store and the prefix of an artefact URI."""
        parts = urlsplit(uri)
        if parts.scheme != "s3":
            raise ConfigurationError(f"MLflow keeps artefacts at {uri!r}; give its experiment a place in S3")
        store = copy.copy(self._store)
        store.bucket = parts.netloc
        return store, parts.path.strip("/")

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn what MLflow raises into the errors of the platform.

        Raises
        ------
        RegistryError
            If the same request would be refused again.
        ServiceUnavailableError
            If it may succeed later.
        """
        try:
            yield
        except MlflowException as error:
            message = str(error).splitlines()[0][:300]
            kind = RegistryError if error.error_code in REFUSALS else ServiceUnavailableError
            raise kind(f"MLflow request failed at {self.tracking_uri}: {message}") from error
