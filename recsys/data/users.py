"""Users with their history, which models see, and their targets, which they predict."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix, vstack

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.splits import hash_ids, split_history
from recsys.types import Floats, Ids, Mask, Positions, RatingMatrix

BATCH_USERS: Final = 256
# Ids of users whom the simulation makes up; those who register with the service follow, sources stay below.
GENERATED_IDS: Final = range(10**12, 2 * 10**12)


def is_generated(user_ids: Ids) -> Mask:
    """Tell which users the simulation made up, by their ids, `(n_users,)`."""
    return np.asarray((user_ids >= GENERATED_IDS.start) & (user_ids < GENERATED_IDS.stop), dtype=np.bool_)


@dataclass(frozen=True)
class Users:
    """Users with history, targets and stated tastes.

    Parameters
    ----------
    history, targets
        CSR `(n_users, n_items)` of ratings 1..10, disjoint.
    tastes
        Stated genre weights `(n_users, n_genres)`.
    """

    user_ids: Ids
    history: RatingMatrix
    targets: RatingMatrix
    tastes: Floats

    def select(self, rows: Positions) -> "Users":
        """Keep some rows."""
        return Users(self.user_ids[rows], self.history[rows], self.targets[rows], self.tastes[rows])

    def batches(self) -> Iterator["Users"]:
        """Yield all users in batches, to bound the memory of dense scores."""
        for start in range(0, len(self.user_ids), BATCH_USERS):
            yield self.select(np.arange(start, min(start + BATCH_USERS, len(self.user_ids))))


def build_users(interactions: Interactions, catalog: Catalog, *, variant: int = 0) -> Users:
    """Split the ratings of users into history and targets; those without targets are left out.

    Parameters
    ----------
    variant
        Which split; 0 is the one of every evaluation.
    """
    split = split_history(interactions, variant=variant)
    user_ids = split.targets.user_ids
    no_tastes = np.zeros((len(user_ids), len(catalog.genres)), dtype=np.float32)
    history = split.history.select_users(user_ids)
    return Users(
        user_ids,
        arrange_ratings(history, user_ids, catalog),
        arrange_ratings(split.targets, user_ids, catalog),
        no_tastes,
    )


def join_users(*groups: Users) -> Users:
    """Put groups one below the other; a user may occur in several, with different histories."""
    return Users(
        np.concatenate([users.user_ids for users in groups]),
        vstack([users.history for users in groups], format="csr"),
        vstack([users.targets for users in groups], format="csr"),
        np.vstack([users.tastes for users in groups]),
    )


def add_dropped_targets(users: Users, dropped: pd.DataFrame, catalog: Catalog, rating: int) -> Users:
    """Add a low target for every title that a user dropped without rating it.

    Parameters
    ----------
    users
        A user may occur in several rows.
    dropped
        `user_id` and `item_id`, as `select_dropped` returns them; other users and items are left out.
    rating
        1..10.
    """
    known = dropped[dropped[Columns.User].isin(users.user_ids) & catalog.contains(dropped[Columns.Item])]
    user_ids = np.unique(users.user_ids)
    weak = arrange_ratings(Interactions(known.assign(**{Columns.Rating: rating})), user_ids, catalog)
    return replace(users, targets=users.targets + weak[np.searchsorted(user_ids, users.user_ids)])


def arrange_ratings(interactions: Interactions, user_ids: Ids, catalog: Catalog) -> RatingMatrix:
    """Arrange ratings as CSR `(n_users, n_items)` with a row for each of some users, ascending ids."""
    table = interactions.table
    rows = np.searchsorted(user_ids, table[Columns.User].to_numpy())
    columns = catalog.positions(table[Columns.Item].to_numpy())
    values = table[Columns.Rating].to_numpy(dtype=np.float32)
    return csr_matrix((values, (rows, columns)), shape=(len(user_ids), len(catalog)))


def shorten_histories(users: Users, lengths: npt.NDArray[np.integer]) -> RatingMatrix:
    """Keep at most so many ratings of each history, the same ones every time: the first in the order of a hash.

    Parameters
    ----------
    lengths
        Ratings kept of each user, `(n_users,)`.
    """
    entries = users.history.tocoo()
    order = np.lexsort((hash_ids(users.user_ids[entries.row], entries.col, salt=7), entries.row))
    rows = entries.row[order]
    _, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(starts, counts)
    kept = order[place < lengths[rows]]
    return csr_matrix((entries.data[kept], (entries.row[kept], entries.col[kept])), shape=users.history.shape)


def find_favourite_genres(history: RatingMatrix, catalog: Catalog, n_genres: int) -> Floats:
    """Mark the genres that each history holds most above the catalog's mean, `(n_users, n_genres of the catalog)`.

    They stand for what a user would state when asked; a tie goes to the alphabet.
    """
    shares = np.asarray(history @ catalog.genre_matrix)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    usual = catalog.genre_matrix.mean(axis=0)
    lift = shares - usual / max(float(usual.sum()), 1e-9)
    favourites = np.argsort(-lift, axis=1, kind="stable")[:, :n_genres]
    tastes = np.zeros(shares.shape, dtype=np.float32)
    np.put_along_axis(tastes, favourites, 1.0, axis=1)
    return tastes
