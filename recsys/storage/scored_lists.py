"""Lists that were made beforehand for all users at once, for the service to answer without ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sqlalchemy import Connection, select

from recsys.storage.database import upsert_rows
from recsys.storage.tables import scored_lists, users
from recsys.types import Floats, Ids, UserId


@dataclass(frozen=True)
class ScoredList:
    """The list of a user by one version.

    Parameters
    ----------
    k
        The length that was asked for.
    user_digest
        `StoredUser.digest` of what the list was made from; it holds for nothing else.
    adult
        Whether titles for adults only could be listed.
    item_ids, scores, predicted_ratings
        Best first, of equal length.
    watched_item_ids, watched_predictions
        The best rated titles of the history, in the order of `UserProfile.select_best`, and the rating predicted for
        each from the rest of the history.
    """

    user_id: UserId
    version: int
    k: int
    user_digest: str
    adult: bool
    item_ids: Ids
    scores: Floats
    predicted_ratings: Floats
    watched_item_ids: Ids
    watched_predictions: Floats


_ARRAYS = {
    "item_ids": np.int64,
    "scores": np.float32,
    "predicted_ratings": np.float32,
    "watched_item_ids": np.int64,
    "watched_predictions": np.float32,
}
_COLUMNS = [column for column in scored_lists.c if column.name not in ("model_name", "created_at")]


def store_scored_lists(connection: Connection, model_name: str, lists: Sequence[ScoredList]) -> int:
    """Store the lists of some users in the place of what they had by this model.

    A user who has been deleted since gets none. The transaction of the caller makes it whole or nothing.

    Returns
    -------
    int
        Lists added or changed.
    """
    if not lists:
        return 0
    user_ids = [int(one.user_id) for one in lists]
    known = select(users.c.user_id).where(users.c.user_id.in_(user_ids)).order_by(users.c.user_id)
    # Locked, so that nobody deletes them before the rows that refer to them are there.
    there = set(connection.scalars(known.with_for_update(read=True, key_share=True)))
    rows = [
        {
            "model_name": model_name,
            "user_id": one.user_id,
            "version": one.version,
            "k": one.k,
            "user_digest": one.user_digest,
            "adult": one.adult,
            **{name: getattr(one, name).tolist() for name in _ARRAYS},
        }
        for one in lists
        if one.user_id in there
    ]
    return upsert_rows(connection, scored_lists, pd.DataFrame(rows)) if rows else 0


def read_scored_list(connection: Connection, model_name: str, user_id: UserId) -> ScoredList | None:
    """Read the stored list of a user by key; None if there is none."""
    columns = scored_lists.c
    query = select(*_COLUMNS).where(columns.model_name == model_name, columns.user_id == int(user_id))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    arrays = {name: np.array(getattr(row, name), dtype=kind) for name, kind in _ARRAYS.items()}
    return ScoredList(row.user_id, row.version, row.k, row.user_digest, row.adult, **arrays)
