"""The people that every model is judged by: held-out users with what they show and what they hide."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.people import People, build_people
from recsys.data.splits import TEST, select_group
from recsys.evaluation.metrics import EMPTY
from recsys.exceptions import EvaluationError
from recsys.types import Ids, Mask, Positions, RatingMatrix


@dataclass(frozen=True)
class World:
    """Everything that an evaluation looks at.

    Parameters
    ----------
    arrived
        Users who came after the first ingest, ascending.
    name
        Where it comes from: a folder, or the digest of a snapshot.
    """

    catalog: Catalog
    interactions: Interactions
    arrived: Ids
    name: str


@dataclass(frozen=True)
class Jury:
    """Held-out users with what they hide.

    Parameters
    ----------
    arrived
        Who came after the first ingest, `(n_users,)`.
    item_counts
        Ratings of each title among training users, `(n_items,)`.
    franchises
        Number of each title's franchise, `(n_items,)`; None where discovery is not judged.
    """

    catalog: Catalog
    people: People
    arrived: Mask
    item_counts: npt.NDArray[np.int64]
    n_training_users: int
    franchises: npt.NDArray[np.int64] | None = None


def summon_jury(
    world: World,
    training: RatingMatrix,
    group: str = TEST,
    *,
    franchises: npt.NDArray[np.int64] | None = None,
) -> Jury:
    """Take the users of a group with their fixed histories and targets.

    Parameters
    ----------
    training
        All ratings of the training users, CSR `(n_training_users, n_items)`.

    Raises
    ------
    EvaluationError
        If there is no such user.
    """
    people = build_people(select_group(world.interactions, group), world.catalog)
    if not len(people.user_ids):
        raise EvaluationError(f"the data have no {group} users with two ratings; ingest more, or let more arrive")
    counts = np.bincount(training.indices, minlength=len(world.catalog)).astype(np.int64)
    arrived = np.isin(people.user_ids, world.arrived)
    return Jury(world.catalog, people, arrived, counts, training.shape[0], franchises)


def find_relevant(targets: RatingMatrix) -> RatingMatrix:
    """Keep the hidden ratings that count as hits, those of 7 or more."""
    return (targets >= POSITIVE_RATING).tocsr()


def find_known(history: RatingMatrix, franchises: npt.NDArray[np.int64]) -> Mask:
    """Tell for each user and title whether the history holds anything of its franchise, `(n_users, n_items)`.

    A season, film or special of what was watched is known to exist; recommending it completes rather than discovers.
    """
    seen = np.zeros((history.shape[0], int(franchises.max(initial=0)) + 1), dtype=np.bool_)
    rows = np.repeat(np.arange(history.shape[0]), np.diff(history.indptr))
    seen[rows, franchises[history.indices]] = True
    return seen[:, franchises]


def drop_known(targets: RatingMatrix, known: Mask) -> RatingMatrix:
    """Keep the targets of unknown franchises."""
    entries = targets.tocoo()
    kept = ~known[entries.row, entries.col]
    return csr_matrix((entries.data[kept], (entries.row[kept], entries.col[kept])), shape=targets.shape)


def close_ranks(ranked: Positions, kept: Mask, k: int) -> Positions:
    """Drop places from ranked lists and let what follows move up.

    Parameters
    ----------
    ranked, kept
        `(n_users, depth)`; empty places are never kept.

    Returns
    -------
    The first k of what is left, padded with -1, `(n_users, k)`.
    """
    order = np.argsort(~(kept & (ranked != EMPTY)), axis=1, kind="stable")[:, :k]
    moved = np.take_along_axis(ranked, order, axis=1)
    left = np.take_along_axis(kept & (ranked != EMPTY), order, axis=1)
    closed = np.full((len(ranked), k), EMPTY, dtype=ranked.dtype)
    closed[:, : moved.shape[1]] = np.where(left, moved, EMPTY)
    return closed
