"""Bring the tables to the newest migration, and give the roles of the database what they need."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, delete, insert, text

from recsys.storage.database import advisory_lock
from recsys.storage.schema_state import FIRST_WITH_OLDEST_CODE, read_oldest_code, read_schema_state
from recsys.storage.tables import SCHEMA, schema_compatibility

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_ROLES: Final = Path(__file__).parent / "roles"
HEAD: Final = "head"
# Of the file that creates them; every other file grants to one of them.
CREATE_ROLES: Final = "create_roles.sql"


def migrate(source: Engine | Connection, revision: str = HEAD) -> list[str]:
    """Bring the schema `otaku` to the newest migration and renew the grants; two at once wait for each other.

    Tables that a newer release has migrated, and that this code can work with still, are left alone.

    Parameters
    ----------
    source
        An engine gives it a transaction of its own, with a connection it belongs to the open one.
    revision
        Where to stop; for backups, which are restored into the tables of their own time first.

    Returns
    -------
    list of str
        What was applied, as `number description`.

    Raises
    ------
    ConfigurationError
        If migrations are missing and the role may not apply them, or the tables are too new for this code.
    """
    state = read_schema_state(source)
    if state.is_usable:
        return []
    # The service only reads tables and runs without Alembic.
    from alembic import command

    opened = source.begin() if isinstance(source, Engine) else nullcontext(source)
    with opened as connection:
        if state.is_newer or not _may_migrate(connection):
            state.check()
        with advisory_lock(connection, "migrate"):
            state = read_schema_state(connection)
            # Asked first: PostgreSQL wants the right to create schemas even where there is one.
            if connection.scalar(text("SELECT to_regnamespace(:schema)"), {"schema": SCHEMA}) is None:
                connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
            command.upgrade(_build_config(connection), revision)
            applied = [entry for entry in state.list_pending() if revision == HEAD or entry[:4] <= revision]
            if revision == HEAD or revision >= FIRST_WITH_OLDEST_CODE:
                connection.execute(delete(schema_compatibility))
                connection.execute(insert(schema_compatibility).values(oldest_code=read_oldest_code()))
                grant_roles(connection)
    return applied


def grant_roles(connection: Connection) -> list[str]:
    """Give the group roles that exist their rights on the tables; returns their names.

    The owner of the schema may do so. `read_roles_sql` is what creates the roles, once, by an administrator.
    """
    wanted = {path.stem: path for path in sorted(_ROLES.glob("otaku_*.sql"))}
    existing = connection.scalars(
        text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names) ORDER BY 1"), {"names": list(wanted)}
    ).all()
    for name in existing:
        connection.exec_driver_sql(wanted[name].read_text(encoding="utf-8"))
    return list(existing)


def read_roles_sql() -> str:
    """Read the SQL that creates the group roles and grants them their rights, for `psql`."""
    files = [_ROLES / CREATE_ROLES, *sorted(_ROLES.glob("otaku_*.sql"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def _build_config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _may_migrate(connection: Connection) -> bool:
    """Whether the role owns the schema or, where there is none, may create it."""
    owner = "(SELECT nspowner FROM pg_namespace WHERE nspname = :schema)"
    query = text(
        f"SELECT CASE WHEN {owner} IS NULL THEN has_database_privilege(current_database(), 'CREATE') "
        f"ELSE pg_has_role({owner}, 'USAGE') END"
    )
    return bool(connection.scalar(query, {"schema": SCHEMA}))
