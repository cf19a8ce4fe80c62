"""Held-out users with their histories and their hidden ratings, the same for every model."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.splits import TEST, select_group
from recsys.data.users import Users, build_users
from recsys.exceptions import EvaluationError, SchemaMismatchError
from recsys.gate.metrics import EMPTY
from recsys.types import Ids, Mask, Positions, RatingMatrix


@dataclass(frozen=True)
class EvaluationData:
    """The data of an evaluation.

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
class EvaluationSet:
    """Held-out users with histories and targets.

    Parameters
    ----------
    users
        Histories and targets of the first hiding.
    arrived
        Who came after the first ingest, `(n_users,)`.
    item_counts, item_likes
        Ratings of each title among training users, and those of 7 and more, `(n_items,)`.
    franchises
        Number of each title's franchise, `(n_items,)`; None where discovery is not measured.
    unshown
        Titles that stand outside the lists without being known to the model, CSR `(n_users, n_items)`; None for none.
    others
        The same users with other ratings hidden; a user's value is the mean over all hidings. Not with `unshown`.

    Raises
    ------
    SchemaMismatchError
        If another hiding has other users.
    """

    catalog: Catalog
    users: Users
    arrived: Mask
    item_counts: npt.NDArray[np.int64]
    item_likes: npt.NDArray[np.int64]
    n_training_users: int
    franchises: npt.NDArray[np.int64] | None = None
    unshown: RatingMatrix | None = None
    others: tuple[Users, ...] = ()

    def __post_init__(self) -> None:
        for users in self.others:
            if not np.array_equal(users.user_ids, self.users.user_ids):
                raise SchemaMismatchError("a hiding has other users than the first; hide ratings of the same users")
        if self.others and self.unshown is not None:
            raise SchemaMismatchError("unshown titles belong to one hiding; build the evaluation set with n_hidings=1")

    @property
    def hidings(self) -> tuple[Users, ...]:
        """The users once for each hiding."""
        return (self.users, *self.others)

    def select(self, rows: Positions) -> "EvaluationSet":
        """Keep some users."""
        unshown = None if self.unshown is None else self.unshown[rows]
        others = tuple(users.select(rows) for users in self.others)
        return replace(self, users=self.users.select(rows), arrived=self.arrived[rows], unshown=unshown, others=others)

    @property
    def n_unshown(self) -> int:
        """How many titles at most may have to leave a list."""
        return 0 if self.unshown is None else int(np.diff(self.unshown.indptr).max(initial=0))


def build_evaluation_set(
    world: EvaluationData,
    training: RatingMatrix,
    group: str = TEST,
    *,
    franchises: npt.NDArray[np.int64] | None = None,
    n_hidings: int = 1,
) -> EvaluationSet:
    """Take the users of a group with their fixed histories and targets.

    Parameters
    ----------
    training
        All ratings of the training users, CSR `(n_training_users, n_items)`.
    n_hidings
        How many fifths of the ratings of each user are hidden in turn, at least 1.

    Raises
    ------
    EvaluationError
        If there is no such user.
    """
    members = select_group(world.interactions, group)
    users, *others = (build_users(members, world.catalog, variant=variant) for variant in range(n_hidings))
    if not len(users.user_ids):
        raise EvaluationError(f"the data have no {group} users with two ratings; ingest more, or let more arrive")
    liked = training.indices[training.data >= POSITIVE_RATING]
    counts, likes = (np.bincount(found, minlength=len(world.catalog)) for found in (training.indices, liked))
    arrived = np.isin(users.user_ids, world.arrived)
    return EvaluationSet(
        world.catalog, users, arrived, counts, likes, training.shape[0], franchises, others=tuple(others)
    )


def find_relevant(targets: RatingMatrix) -> RatingMatrix:
    """Keep the hidden ratings that count as hits, those of 7 or more."""
    return (targets >= POSITIVE_RATING).tocsr()


def find_known(history: RatingMatrix, franchises: npt.NDArray[np.int64]) -> Mask:
    """Tell for each user and title whether the history holds anything of its franchise, `(n_users, n_items)`.

    A season, film or special of what was watched is known to exist; it completes a franchise and is no discovery.
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


def drop_unshown(ranked: Positions, unshown: RatingMatrix, k: int) -> Positions:
    """Take titles out of ranked lists, `(n_users, depth)`, and keep the first k of the rest, `(n_users, k)`."""
    hidden = np.zeros(unshown.shape, dtype=np.bool_)
    hidden[unshown.nonzero()] = True
    return close_ranks(ranked, ~np.take_along_axis(hidden, np.where(ranked == EMPTY, 0, ranked), axis=1), k)


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
