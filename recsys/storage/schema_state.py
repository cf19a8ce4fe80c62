"""Whether the tables are those that the code expects, for runs that must not change them."""

from pathlib import Path
from typing import Final

from sqlalchemy import Engine, inspect, text

from recsys.exceptions import ConfigurationError, NothingIngestedError
from recsys.storage.tables import SCHEMA

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


def require_newest_schema(engine: Engine) -> None:
    """Check that the newest migration is applied; a dry run applies none.

    Raises
    ------
    NothingIngestedError
        If there are no tables yet.
    ConfigurationError
        If there is another migration; names both.
    """
    newest = max(path.name[:4] for path in _VERSIONS.glob("[0-9]*.py"))
    if not inspect(engine).has_table("alembic_version", schema=SCHEMA):
        raise NothingIngestedError("the database has no tables yet; ingest ratings first (`otaku ingest DIR`)")
    with engine.connect() as connection:
        applied = connection.scalar(text(f"SELECT version_num FROM {SCHEMA}.alembic_version"))  # noqa: S608
    if applied != newest:
        raise ConfigurationError(
            f"the tables are those of migration {applied}, and this code needs {newest}; a dry run changes none, "
            "`otaku up` or any run that is none does"
        )
