"""Write ratings and statuses with their source and time: a user's own later word wins, whatever is written when.

What users say themselves (registration, import, feedback) is ordered by the time at which they said it, and never
replaced by what a file says; among files the one that is ingested last holds. The rule stands in the statement that
writes, so that the order in which ingests, folds and imports commit does not matter.
"""

from typing import Final

import pandas as pd
from sqlalchemy import Connection, Table, text

from recsys.columns import Columns
from recsys.storage.database import copy_rows
from recsys.types import EntrySource

OWN_SOURCES: Final = tuple(source.value for source in EntrySource if source.is_own)


def upsert_sourced(connection: Connection, table: Table, frame: pd.DataFrame, source: EntrySource) -> int:
    """Write the values of a frame that win over those that are there.

    Parameters
    ----------
    table
        `ratings` or `watch_statuses`.
    frame
        `user_id`, `item_id`, the value, and for feedback `given_at`, the time of the word; without it, the time of the
        transaction counts.

    Returns
    -------
    int
        Values added or changed; a value that was equal already does not count.
    """
    value = next(name for name in frame.columns if name not in (*Columns.UserItem, Columns.GivenAt))
    staging = copy_rows(connection, table, frame)
    write = _write_own if source.is_own else _write_unless_own
    given_at = Columns.GivenAt if Columns.GivenAt in frame.columns else "now()"
    # Here and below, names come from the tables of this package, never from input.
    rows = f"SELECT user_id, item_id, {value}, {given_at} FROM {staging}"  # noqa: S608
    n_changed = write(connection, table, rows, value, source)
    connection.execute(text(f"DROP TABLE {staging}"))
    return n_changed


def _write_unless_own(connection: Connection, table: Table, rows: str, value: str, source: EntrySource) -> int:
    """Write what no user has said; only changed values are touched."""
    insert = (
        f"INSERT INTO {table.fullname} AS old (user_id, item_id, {value}, given_at, source) "  # noqa: S608
        f"SELECT *, CAST(:source AS text) FROM ({rows}) AS new ORDER BY user_id, item_id "
        f"ON CONFLICT (user_id, item_id) DO UPDATE "
        f"SET {value} = excluded.{value}, given_at = excluded.given_at, source = excluded.source "
        f"WHERE old.source <> ALL(:own) AND old.{value} <> excluded.{value}"
    )
    return connection.execute(text(insert), {"source": source.value, "own": list(OWN_SOURCES)}).rowcount


def _write_own(connection: Connection, table: Table, rows: str, value: str, source: EntrySource) -> int:
    """Write what a user said later than what is there; an equal value takes the later time."""
    values = {"source": source.value, "own": list(OWN_SOURCES)}
    changes = (
        f"SELECT count(*) FROM ({rows}) AS new (user_id, item_id, value, given_at) "  # noqa: S608
        f"LEFT JOIN {table.fullname} AS old USING (user_id, item_id) "
        f"WHERE old.{value} IS NULL OR old.{value} <> new.value AND "
        "(old.source <> ALL(:own) OR (old.given_at, old.source) <= (new.given_at, CAST(:source AS text)))"
    )
    insert = (
        f"INSERT INTO {table.fullname} AS old (user_id, item_id, {value}, given_at, source) "  # noqa: S608
        f"SELECT *, CAST(:source AS text) FROM ({rows}) AS new ORDER BY user_id, item_id "
        f"ON CONFLICT (user_id, item_id) DO UPDATE "
        f"SET {value} = excluded.{value}, given_at = excluded.given_at, source = excluded.source "
        "WHERE old.source <> ALL(:own) OR (old.given_at, old.source) <= (excluded.given_at, excluded.source)"
    )
    n_changed = int(connection.execute(text(changes), values).scalar_one())
    connection.execute(text(insert), values)
    return n_changed
