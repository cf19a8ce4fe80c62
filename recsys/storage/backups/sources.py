"""What a backup is made of, and what a restore fills."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text

from recsys.storage.artifacts import ArtifactStore
from recsys.storage.registry import Registry
from recsys.storage.tables import SCHEMA

REGISTRY_SCHEMA: Final = "public"
# Say which migration the tables are of; they are no data.
_BOOKKEEPING: Final = ("alembic_version", "schema_compatibility")


@dataclass(frozen=True)
class Sources:
    """The platform's state.

    Parameters
    ----------
    engine
        On the database that holds schema `otaku`.
    registry_engine
        On the database that MLflow keeps its tables in, in schema `public`.
    registry
        The MLflow server over it.
    store
        The bucket, into which MLflow writes as well.
    """

    engine: Engine
    registry_engine: Engine
    registry: Registry
    store: ArtifactStore


def url_of(engine: Engine) -> str:
    """Spell the database of an engine with its password."""
    return engine.url.render_as_string(hide_password=False)


def count_rows(connection: Connection, schema: str = SCHEMA) -> dict[str, int]:
    """Count the rows of all tables of a schema, bookkeeping of migrations left out."""
    listed = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema ORDER BY tablename")
    names = [name for name in connection.scalars(listed, {"schema": schema}) if name not in _BOOKKEEPING]
    return {
        name: int(connection.scalar(text(f'SELECT count(*) FROM "{schema}"."{name}"')) or 0)  # noqa: S608
        for name in names
    }


def read_migration(connection: Connection, schema: str = SCHEMA) -> str | None:
    """Read which migration the tables of a schema are of; None where there are none."""
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"{schema}.alembic_version"}) is None:
        return None
    query = text(f'SELECT version_num FROM "{schema}".alembic_version')  # noqa: S608
    return connection.scalars(query).one_or_none()
