"""From settings to connections: the database, the object store and the registry that they name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsys.exceptions import ConfigurationError
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from recsys.storage.registry import Registry


@contextmanager
def open_engine(settings: Settings) -> Iterator["Engine"]:
    """Yield an engine for the database and close its connections afterwards.

    Raises
    ------
    ConfigurationError
        If OTAKU_DATABASE_URL is missing.
    """
    from recsys.storage.database import create_database_engine

    engine = create_database_engine(settings.require_database_url())
    try:
        yield engine
    finally:
        engine.dispose()


def open_store(settings: Settings) -> ArtifactStore:
    """Reach the bucket, which need not exist yet; nothing connects before the first call."""
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    return ArtifactStore(
        settings.s3_bucket,
        str(settings.s3_endpoint_url).rstrip("/") if settings.s3_endpoint_url else None,
        key.get_secret_value() if key else None,
        secret.get_secret_value() if secret else None,
    )


def open_registry(settings: Settings) -> "Registry":
    """Reach MLflow and the bucket; nothing connects before the first call.

    Raises
    ------
    ConfigurationError
        If MLFLOW_TRACKING_URI is missing.
    """
    from recsys.storage.registry import Registry

    if settings.mlflow_tracking_uri is None:
        raise ConfigurationError("MLFLOW_TRACKING_URI is not set; `otaku up` brings a registry and prints its URL")
    # MLflow's client looks for them there and nowhere else.
    if settings.mlflow_tracking_username is not None and settings.mlflow_tracking_password is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_tracking_username
        os.environ["MLFLOW_TRACKING_PASSWORD"] = settings.mlflow_tracking_password.get_secret_value()
    return Registry(settings.mlflow_tracking_uri, settings.model_name, open_store(settings))
