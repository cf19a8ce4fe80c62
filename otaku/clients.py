"""Connections to the services that complete settings name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsys.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from recsys.storage.artifacts import ArtifactStore


@contextmanager
def open_engine(settings: Settings) -> Iterator["Engine"]:
    """Yield an engine for the database of complete settings."""
    from recsys.storage.database import create_database_engine

    assert settings.database_url is not None, "settings are complete"  # noqa: S101 - states what callers ensure
    engine = create_database_engine(settings.database_url.get_secret_value())
    try:
        yield engine
    finally:
        engine.dispose()


def open_store(settings: Settings) -> "ArtifactStore":
    """Connect to the bucket of complete settings, created if it is missing."""
    from recsys.storage.artifacts import ArtifactStore

    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    store = ArtifactStore(
        settings.s3_bucket,
        str(settings.s3_endpoint_url) if settings.s3_endpoint_url else None,
        key.get_secret_value() if key else None,
        secret.get_secret_value() if secret else None,
    )
    store.ensure_bucket()
    return store
