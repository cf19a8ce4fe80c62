"""Whether the tables are those that the code can work with.

A migration expands (it adds tables, columns with a default, indexes) or contracts (it removes what older code needs).
Each names in `oldest_code` the newest migration that the oldest code knows which still works after it, and `migrate`
keeps that of the newest one in the table `schema_compatibility`: code that is older than the tables reads there
whether it may go on.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from recsys.exceptions import ConfigurationError, NothingIngestedError, ServiceUnavailableError
from recsys.storage.tables import SCHEMA

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
OLDEST_CODE: Final = "oldest_code"
# Migrations before the first one that names it only worked with code of their own time.
FIRST_WITH_OLDEST_CODE: Final = "0011"


@dataclass(frozen=True)
class SchemaState:
    """The migrations of a database and those of this code.

    Parameters
    ----------
    applied
        The newest migration that was applied; None where there are no tables.
    needed
        The newest migration of this code.
    oldest_code
        The newest migration known to the oldest code that works with the tables; None if the tables name none.
    """

    applied: str | None
    needed: str
    oldest_code: str | None = None

    @property
    def is_newer(self) -> bool:
        """Whether a newer release has migrated the tables."""
        return self.applied is not None and self.applied > self.needed

    @property
    def is_usable(self) -> bool:
        """Whether this code can work with the tables as they are."""
        if self.is_newer:
            return self.oldest_code is not None and self.oldest_code <= self.needed
        return self.applied == self.needed

    def list_pending(self) -> list[str]:
        """List the migrations of this code that were not applied, oldest first, as `number description`."""
        return [entry for entry in list_migrations() if self.applied is None or entry[:4] > self.applied]

    def check(self) -> None:
        """Refuse tables that this code cannot work with.

        Raises
        ------
        NothingIngestedError
            If there are no tables yet.
        ConfigurationError
            If they are too old, or too new; names both migrations and the remedy.
        """
        if self.is_usable:
            return
        if self.applied is None:
            raise NothingIngestedError(
                "the database has no tables yet; ingest ratings first (`otaku ingest DIR`), or `otaku migrate up`"
            )
        if self.is_newer:
            raise ConfigurationError(
                f"the tables are those of migration {self.applied}, which needs code of migration "
                f"{self.oldest_code or self.applied} or later; this is code of {self.needed}: install a newer release"
            )
        raise ConfigurationError(
            f"the tables are those of migration {self.applied}, and this code needs {self.needed}; "
            "run `otaku migrate up` as the role that owns schema otaku"
        )


def list_migrations() -> list[str]:
    """List the migrations of this code, oldest first, as `number description`."""
    return sorted(path.stem.replace("_", " ") for path in _VERSIONS.glob("[0-9]*.py"))


def read_oldest_code() -> str:
    """Read from the newest migration which code works with its tables, without running it."""
    newest = max(_VERSIONS.glob("[0-9]*.py"))
    for node in ast.parse(newest.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == OLDEST_CODE:
            return str(ast.literal_eval(node.value)) if node.value is not None else newest.name[:4]
    raise ConfigurationError(f"{newest.name} does not name `{OLDEST_CODE}`")


def read_schema_state(source: Engine | Connection) -> SchemaState:
    """Compare the tables with the migrations of this code; changes nothing."""
    if isinstance(source, Engine):
        try:
            with source.connect() as connection:
                return read_schema_state(connection)
        except SQLAlchemyError as error:
            raise ServiceUnavailableError(f"PostgreSQL does not tell its migration: {error}") from error
    needed = list_migrations()[-1][:4]
    if not _has_table(source, "alembic_version"):
        return SchemaState(None, needed)
    applied = source.scalar(text(f"SELECT version_num FROM {SCHEMA}.alembic_version"))  # noqa: S608
    oldest = None
    if _has_table(source, "schema_compatibility"):
        oldest = source.scalar(text(f"SELECT max(oldest_code) FROM {SCHEMA}.schema_compatibility"))  # noqa: S608
    return SchemaState(applied, needed, oldest)


def _has_table(connection: Connection, name: str) -> bool:
    return connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"{SCHEMA}.{name}"}) is not None


def require_schema(source: Engine | Connection) -> None:
    """Check that this code can work with the tables, and apply no migration; raises as `SchemaState.check`."""
    read_schema_state(source).check()
