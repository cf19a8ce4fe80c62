"""Which users train, which evaluate, and which of a user's ratings are hidden.

Both are functions of ids alone, so a test user of today is a test user of every later version, and no
target ever moves into a history.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.types import Ids

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"

TARGET_SHARE: Final = 0.2


def hash_ids(*ids: npt.ArrayLike, salt: int) -> npt.NDArray[np.uint64]:
    """Mix integer ids into uniform 64-bit hashes, equal on every machine.

    Parameters
    ----------
    ids
        One or more integer arrays of equal length; their order matters.
    salt
        Makes independent hashes of the same ids.

    Notes
    -----
    The finaliser of SplitMix64 (Steele, Lea & Flood, 2014), applied once an array.
    """
    state: npt.NDArray[np.uint64] = np.full(1, salt, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for values in ids:
            state = state + np.asarray(values, dtype=np.int64).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def assign_groups(user_ids: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Assign users to train (80 %), validation (10 %) or test (10 %), for ever.

    Examples
    --------
    >>> assign_groups([1, 2, 3]).tolist() == assign_groups([3, 2, 1]).tolist()[::-1]
    True
    """
    percentile = hash_ids(user_ids, salt=1) % np.uint64(100)
    return np.select([percentile < 80, percentile < 90], [TRAIN, VALIDATION], TEST)


def assign_folds(user_ids: npt.ArrayLike, n_folds: int) -> npt.NDArray[np.int64]:
    """Assign training users to the folds of cross-fitting, 0..n_folds - 1."""
    return (hash_ids(user_ids, salt=2) % np.uint64(n_folds)).astype(np.int64)


@dataclass(frozen=True)
class HistoryAndTargets:
    """A partition of each user's ratings into what the system may see and what it must predict."""

    history: Interactions
    targets: Interactions


def split_history(interactions: Interactions, *, variant: int = 0) -> HistoryAndTargets:
    """Hide 20 % of each user's ratings, the same ones every time.

    The ratings of a user are ordered by a hash of (user, item); the first fifth, rounded, are the targets. Users with
    two to four ratings give one target; users with a single rating give none.

    Parameters
    ----------
    variant
        0 is the split of every evaluation. Others hide other ratings, so that one training user can give the
        ranker several query groups.
    """
    table = interactions.table
    users = table[Columns.User].to_numpy()
    order = np.lexsort((hash_ids(users, table[Columns.Item].to_numpy(), salt=100 + variant if variant else 3), users))
    _, starts, counts = np.unique(users, return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(starts, counts)
    n_targets = np.where(counts > 1, np.maximum(1, np.rint(TARGET_SHARE * counts)), 0)
    is_target = np.zeros(len(users), dtype=bool)
    is_target[order] = place < np.repeat(n_targets, counts)
    return HistoryAndTargets(Interactions(table[~is_target]), Interactions(table[is_target]))


def select_group(interactions: Interactions, group: str) -> Interactions:
    """Keep the users of one group: train, validation or test."""
    user_ids: Ids = interactions.user_ids
    return interactions.select_users(user_ids[assign_groups(user_ids) == group])
