"""Foreign keys of a first load are checked by a join when it ends, instead of by a query for each row."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)

# Whoever uses a table has this long to finish; after that, rows are checked one by one.
LOCK_TIMEOUT: Final = "1s"
_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED = "55P03", "40P01"


@contextmanager
def check_at_once(connection: Connection, loaded: Sequence[Table]) -> Iterator[bool]:
    """Check the foreign keys of empty tables when the block ends, by one join each.

    They are dropped and added again in the transaction of the caller, so that no other transaction ever sees the tables
    without them; until it ends, nobody else reads or writes the tables or those that they refer to. Where that cannot
    be had, rows are checked as they are written: a table that holds rows, a role that does not own it, or another
    transaction that uses it for more than a second.

    Parameters
    ----------
    connection
        An open transaction.
    loaded
        Tables that the block fills.

    Yields
    ------
    bool
        Whether the keys are checked at once.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If a row of the block refers to a row that is missing.
    """
    if not (_are_empty(connection, loaded) and _are_owned(connection, loaded) and _lock(connection, loaded)):
        yield False
        return
    keys = {table: _read_foreign_keys(connection, table) for table in loaded}
    for table, definitions in keys.items():
        _alter(connection, table, [f"DROP CONSTRAINT {name}" for name in definitions])
    yield True
    for table, definitions in keys.items():
        _alter(connection, table, [f"ADD CONSTRAINT {name} {definition}" for name, definition in definitions.items()])


def _are_empty(connection: Connection, loaded: Sequence[Table]) -> bool:
    return not any(
        connection.execute(text(f"SELECT EXISTS (SELECT FROM {table.fullname})")).scalar_one()  # noqa: S608 - our names
        for table in loaded
    )


def _are_owned(connection: Connection, loaded: Sequence[Table]) -> bool:
    owned = text("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(:table)")
    return all(connection.execute(owned, {"table": table.fullname}).scalar_one() for table in loaded)


def _lock(connection: Connection, loaded: Sequence[Table]) -> bool:
    """Lock all tables that a change of the keys touches together: one after the other could meet a deadlock."""
    referred = {key.column.table.fullname for table in loaded for key in table.foreign_keys}
    names = ", ".join(sorted(referred | {table.fullname for table in loaded}))
    savepoint = connection.begin_nested()
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    except DBAPIError as error:
        savepoint.rollback()
        if getattr(error.orig, "pgcode", None) not in (_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED):
            raise
        logger.info("%s is in use: foreign keys are checked row by row", names)
        return False
    savepoint.commit()
    return True


def _read_foreign_keys(connection: Connection, table: Table) -> dict[str, str]:
    """Read names and definitions of the foreign keys of a table, spelt as in SQL."""
    found = connection.execute(
        text(
            "SELECT quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint "
            "WHERE conrelid = to_regclass(:table) AND contype = 'f' ORDER BY conname"
        ),
        {"table": table.fullname},
    )
    return {row.name: row.definition for row in found}


def _alter(connection: Connection, table: Table, changes: Sequence[str]) -> None:
    if changes:
        connection.execute(text(f"ALTER TABLE {table.fullname} {', '.join(changes)}"))
