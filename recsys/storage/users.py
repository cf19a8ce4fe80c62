"""Single users: read one, register one, delete one with everything stored about them."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.preferences import build_preference_rows, compute_preferences
from recsys.storage.database import upsert_rows
from recsys.storage.sourced_rows import OWN_SOURCES
from recsys.storage.tables import (
    STATUS_OF_KIND,
    feedback_folds,
    future_users,
    items,
    latest_opinions,
    new_user_ids,
    ratings,
    user_preferences,
    users,
    watch_statuses,
)
from recsys.types import EntrySource, Genre, Ids, ItemId, UserId, WatchStatus

REGISTERED = "service"  # `users.batch_id` of users who registered with the service


@dataclass(frozen=True)
class StoredUser:
    """Everything that is kept of one user and changes what they are shown.

    Parameters
    ----------
    arrived_on
        None for users of the first ingest.
    ratings
        Item to rating 1..10, ascending by item: those in `ratings`, and newer ones of the feedback.
    statuses
        Item to status, ascending by item: those in `watch_statuses`, and newer ones of the feedback.
    dismissed_item_ids
        What they do not want to see, ascending.
    genre_shares
        Genre to share 0..1 of the watched titles, as of the last time their preferences were computed.
    """

    user_id: UserId
    arrived_on: dt.date | None
    ratings: Mapping[ItemId, int]
    dismissed_item_ids: tuple[ItemId, ...]
    genre_shares: Mapping[Genre, float]
    statuses: Mapping[ItemId, WatchStatus] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Digest of what is kept; any write that affects recommendations changes it."""
        item_ids = np.fromiter(self.ratings.keys(), dtype=np.int64, count=len(self.ratings))
        ratings = np.fromiter(self.ratings.values(), dtype=np.float32, count=len(self.ratings))
        parts = hashlib.sha256(item_ids.tobytes() + b"/" + ratings.tobytes())
        listed = [(item_id, status.value) for item_id, status in self.statuses.items()]
        parts.update(repr((sorted(self.genre_shares.items()), self.dismissed_item_ids, listed)).encode())
        return parts.hexdigest()


def read_user(connection: Connection, user_id: UserId) -> StoredUser | None:
    """Read one user by key in one round trip; None for an unknown user.

    Of the feedback, only what `feedback_folds` has not taken over changes ratings and statuses: what was taken over
    stands in the tables, where an import may have changed it since. Feedback that is older than such a change counts no
    more, as in the fold.
    """
    row = connection.execute(_select_user(), {"wanted": int(user_id)}).one_or_none()
    return None if row is None else _to_user(user_id, row._mapping)


@cache
def _select_user() -> Select[Any]:
    """Build the query of one user once: it takes longer than the database takes to answer it."""
    wanted = bindparam("wanted", type_=BigInteger)
    rated, listed, newer = (
        query.where(table.c.user_id == wanted).subquery() for table, query in _select_parts().items()
    )
    return (
        select(users.c.arrived_on, user_preferences.c.genre_shares, *rated.c, *listed.c, *newer.c)
        .select_from(users.outerjoin(user_preferences).join(rated, true()).join(listed, true()).join(newer, true()))
        .where(users.c.user_id == wanted)
    )


def read_users(connection: Connection, user_ids: Sequence[UserId]) -> list[StoredUser]:
    """Read many users in one round trip, each as `read_user` does, ascending; those who do not exist are left out."""
    wanted = list(map(int, user_ids))
    parts = [
        query.add_columns(table.c.user_id.label(f"{table.name}_user"))
        .where(table.c.user_id.in_(wanted))
        .group_by(table.c.user_id)
        .subquery()
        for table, query in _select_parts().items()
    ]
    source = users.outerjoin(user_preferences)
    for part in parts:
        source = source.outerjoin(part, list(part.c)[-1] == users.c.user_id)
    columns = [column for part in parts for column in part.c]
    query = (
        select(users.c.user_id, users.c.arrived_on, user_preferences.c.genre_shares, *columns)
        .select_from(source)
        .where(users.c.user_id.in_(wanted))
        .order_by(users.c.user_id)
    )
    return [_to_user(row.user_id, row._mapping) for row in connection.execute(query)]


def _select_parts() -> dict[Table, Select[Any]]:
    """Select what is rated, what is listed, and the opinions that came later, as arrays; of all users together."""
    opinions = latest_opinions.c
    folded = select(func.coalesce(func.max(feedback_folds.c.last_feedback_id), 0)).scalar_subquery()
    counts = or_(
        opinions.subject == "dismissal",
        (opinions.feedback_id > folded)
        & case((opinions.subject == "rating", ~_outdates(ratings)), else_=~_outdates(watch_statuses)),
    )
    return {
        ratings: select(*_gather(ratings, "rating")),
        watch_statuses: select(*_gather(watch_statuses, "status")),
        latest_opinions: select(*_gather(latest_opinions, "kind", "rating")).where(counts),
    }


def _outdates(table: Table) -> ColumnElement[bool]:
    """Tell whether a row of the table is what the user said later than an opinion."""
    opinions = latest_opinions.c
    later = tuple_(table.c.given_at, table.c.source) > tuple_(opinions.created_at, literal(EntrySource.Feedback.value))
    same = (table.c.user_id == opinions.user_id) & (table.c.item_id == opinions.item_id)
    return exists().where(same, table.c.source.in_(OWN_SOURCES), later)


def _gather(table: Table, *names: str) -> list[Any]:
    """Aggregate item ids and other columns into arrays of one order, that of the primary key."""
    by = [column for column in table.primary_key if column.name != Columns.User]
    columns = {name: table.c[name] for name in (Columns.Item, *names)}
    return [
        func.array_agg(aggregate_order_by(column, *by)).label(f"{table.name}_{name}")
        for name, column in columns.items()
    ]


def _to_user(user_id: UserId, row: Mapping[Any, Any]) -> StoredUser:
    known = dict(zip(row["ratings_item_id"] or [], row["ratings_rating"] or [], strict=True))
    rows = zip(row["watch_statuses_item_id"] or [], row["watch_statuses_status"] or [], strict=True)
    statuses = {item_id: WatchStatus(status) for item_id, status in rows}
    dismissed = set()
    opinions = zip(*(row[f"latest_opinions_{name}"] or [] for name in ("item_id", "kind", "rating")), strict=True)
    for item_id, kind, rating in opinions:  # the last one of each title and subject
        if kind == "rating":
            known[item_id] = rating
        elif kind == "dismissal":
            dismissed.add(item_id)
        else:
            statuses[item_id] = STATUS_OF_KIND[kind]
    return StoredUser(
        user_id=user_id,
        arrived_on=row["arrived_on"],
        ratings=dict(sorted(known.items())),
        dismissed_item_ids=tuple(sorted(dismissed)),
        genre_shares=row["genre_shares"] or {},
        statuses=dict(sorted(statuses.items())),
    )


def register_user(connection: Connection, given: Mapping[ItemId, int], arrived_on: dt.date) -> UserId:
    """Add a user with ratings of known titles, their preferences computed; the caller's transaction holds it all."""
    user_id = int(connection.execute(select(new_user_ids.next_value())).scalar_one())
    connection.execute(insert(users).values(user_id=user_id, arrived_on=arrived_on, batch_id=REGISTERED))
    if given:
        rows = [{"user_id": user_id, "item_id": item_id, "rating": rating} for item_id, rating in given.items()]
        connection.execute(insert(ratings).values(source=EntrySource.Registration.value), rows)
        refresh_preferences(connection, [user_id])
    return user_id


def delete_user(connection: Connection, user_id: UserId) -> bool:
    """Delete a user with everything that is kept of them, from the queue of arrivals too; tell if there was one."""
    waited = connection.execute(delete(future_users).where(future_users.c.user_id == user_id)).rowcount
    return connection.execute(delete(users).where(users.c.user_id == user_id)).rowcount + waited > 0


def find_known_items(connection: Connection, item_ids: list[ItemId]) -> set[ItemId]:
    """Return those of these ids that `items` holds."""
    return set(connection.scalars(select(items.c.item_id).where(items.c.item_id.in_(item_ids))))


def refresh_preferences(connection: Connection, user_ids: list[UserId]) -> int:
    """Compute the preferences of these users from their ratings anew and return the number of rows that changed."""
    columns = [ratings.c[name] for name in Columns.Interactions]
    rows = connection.execute(select(*columns).where(ratings.c.user_id.in_(user_ids))).all()
    if not rows:
        return 0
    interactions = Interactions(pd.DataFrame([tuple(row) for row in rows], columns=Columns.Interactions))
    genres = read_genres(connection, interactions.table[Columns.Item].unique())
    preferences = build_preference_rows(compute_preferences(interactions, genres))
    return upsert_rows(connection, user_preferences, preferences)


def read_genres(connection: Connection, item_ids: Ids) -> Catalog:
    """Read a catalog of these titles alone that knows ids, titles and genres; all else is missing."""
    columns = [Columns.Item, ItemColumns.Title, ItemColumns.Genres]
    query = select(*(items.c[name] for name in columns)).where(items.c.item_id.in_(np.asarray(item_ids).tolist()))
    rows = pd.DataFrame([tuple(row) for row in connection.execute(query)], columns=columns)
    return Catalog(rows.reindex(columns=ItemColumns.All))
