"""Statuses of list entries in PostgreSQL, and whole lists of a user, stored in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, select

from recsys.columns import Columns
from recsys.data.watch_statuses import WatchStatuses
from recsys.exceptions import UnknownUserError
from recsys.storage.database import connect, read_frame, was_there
from recsys.storage.sourced_rows import upsert_sourced
from recsys.storage.tables import ratings, users, watch_statuses
from recsys.storage.users import find_known_items, refresh_preferences
from recsys.types import EntrySource, ItemId, UserId, WatchStatus


def read_watch_statuses(source: Engine | Connection, as_of: date | None) -> WatchStatuses:
    """Read the statuses of every user who was there on a day; None means every user who ever arrived."""
    query: Any = select(*(watch_statuses.c[name] for name in Columns.Statuses))
    if as_of is not None:
        query = query.join(users, watch_statuses.c.user_id == users.c.user_id).where(was_there(as_of))
    with connect(source) as connection:
        return WatchStatuses(read_frame(connection, query))


@dataclass(frozen=True)
class StoredList:
    """Rows of `ratings` and `watch_statuses` that an import added or changed, and ids that `items` does not hold."""

    n_ratings: int
    n_statuses: int
    unknown_item_ids: tuple[ItemId, ...]


def store_list(
    connection: Connection,
    user_id: UserId,
    given: Mapping[ItemId, int],
    statuses: Mapping[ItemId, WatchStatus],
) -> StoredList:
    """Add a list to what is kept of a user; the transaction of the caller makes it whole or nothing.

    A title of the list takes the rating and the status of the list; one that is not in it stays as it was. Storing the
    same list again changes no value.

    Parameters
    ----------
    given
        Item to rating 1..10.
    statuses
        Item to status.

    Raises
    ------
    UnknownUserError
        If there is no such user; nothing is written then.
    """
    # Locked, so that the user is not deleted between this look and the insert.
    query = select(users.c.user_id).where(users.c.user_id == user_id).with_for_update(key_share=True)
    if connection.execute(query).one_or_none() is None:
        raise UnknownUserError(f"there is no user {user_id}; POST /users registers one")
    wanted = {*given, *statuses}
    known = find_known_items(connection, sorted(wanted))
    rated = _build_rows(user_id, given, known, Columns.Rating)
    listed = _build_rows(user_id, statuses, known, Columns.Status)
    n_ratings = upsert_sourced(connection, ratings, rated, EntrySource.Import)
    n_statuses = upsert_sourced(connection, watch_statuses, listed, EntrySource.Import)
    if n_ratings:
        refresh_preferences(connection, [user_id])
    return StoredList(n_ratings, n_statuses, tuple(sorted(wanted - known)))


def _build_rows(user_id: UserId, values: Mapping[ItemId, Any], known: set[ItemId], column: str) -> pd.DataFrame:
    kept = {item_id: value for item_id, value in sorted(values.items()) if item_id in known}
    return pd.DataFrame(
        {
            Columns.User: np.full(len(kept), user_id, dtype=np.int64),
            Columns.Item: np.fromiter(kept, dtype=np.int64, count=len(kept)),
            column: [value.value if isinstance(value, WatchStatus) else value for value in kept.values()],
        }
    )
