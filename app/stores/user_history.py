"""Ratings, statuses, preferences and dismissals of one user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.stores.database import Database
from recsys.exceptions import ServiceUnavailableError
from recsys.storage.users import StoredUser, read_user
from recsys.types import Floats, Genre, Ids, ItemId, UserId, WatchStatus


@dataclass(frozen=True)
class History:
    """Ratings, statuses and dismissals of a user.

    Parameters
    ----------
    item_ids, ratings
        Ids ascending, ratings 1..10.
    genre_shares
        The share of each genre among what was watched, 0..1.
    dismissed_item_ids
        Items that are never recommended to them.
    statuses
        Item to status, ascending by item.
    digest
        Of all of it; any write that affects recommendations changes it.
    """

    item_ids: Ids
    ratings: Floats
    digest: str
    genre_shares: Mapping[Genre, float] = field(default_factory=dict)
    dismissed_item_ids: tuple[int, ...] = ()
    statuses: Mapping[ItemId, WatchStatus] = field(default_factory=dict)


async def read_history(database: Database, user_id: UserId) -> History | None:
    """Read the history of a user; None for an unknown user.

    Raises
    ------
    ServiceUnavailableError
        If the database does not answer in time.
    """
    user = await database.read(lambda connection: read_user(connection, user_id))
    return None if user is None else build_history(user)


async def read_histories(database: Database, user_ids: Sequence[UserId]) -> dict[UserId, History]:
    """Read the histories of some users on one connection; unknown users are left out.

    Raises
    ------
    ServiceUnavailableError
        If the database does not answer in time.
    """
    found = await database.read(lambda connection: [read_user(connection, user_id) for user_id in user_ids])
    return {user.user_id: build_history(user) for user in found if user is not None}


def read_ratings(engine: Engine, user_ids: Sequence[UserId]) -> dict[UserId, dict[ItemId, float]]:
    """Read the ratings of some users, outside of any request; those who do not exist are left out.

    Raises
    ------
    ServiceUnavailableError
        If the database does not answer.
    """
    try:
        with engine.connect() as connection:
            found = {user_id: read_user(connection, user_id) for user_id in user_ids}
    except SQLAlchemyError as error:
        raise ServiceUnavailableError(f"the database does not answer: {error}") from error
    return {user_id: dict(user.ratings) for user_id, user in found.items() if user is not None}


def build_history(user: StoredUser) -> History:
    """Convert stored data of a user."""
    return History(
        item_ids=np.fromiter(user.ratings.keys(), dtype=np.int64, count=len(user.ratings)),
        ratings=np.fromiter(user.ratings.values(), dtype=np.float32, count=len(user.ratings)),
        digest=user.digest,
        genre_shares=user.genre_shares,
        dismissed_item_ids=user.dismissed_item_ids,
        statuses=user.statuses,
    )
