"""Users of whom little is known, and titles that nobody has rated: the corners where recommenders fail first."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.splits import hash_ids
from recsys.data.users import Users, find_favourite_genres, shorten_histories
from recsys.evaluation.evaluate import EvaluationResult
from recsys.evaluation.evaluation_set import EvaluationData, EvaluationSet
from recsys.exceptions import EvaluationError
from recsys.gate.intervals import bootstrap_interval
from recsys.types import Mask, RatingMatrix

LENGTHS: Final = (1, 2, 5, 10)
STATED_GENRES: Final = 3
HIDDEN_SHARE: Final = 0.05
WHOLE, NOTHING, GENRES, LOW = "whole history", "nothing", "only genres", "only low ratings"
# What a site counts once users watch and rate.
_TOLD_BY_USERS: Final = [
    ItemColumns.MeanScore,
    ItemColumns.Ranked,
    ItemColumns.Popularity,
    *ItemColumns.Audience,
    *ItemColumns.ScoreCounts,
]
_METRICS: Final = ("ndcg_at_10", "recall_at_10", "recall_at_100")


def build_cold_start_slices(eval_set: EvaluationSet) -> dict[str, EvaluationSet]:
    """Make evaluation sets of the same users with less and less known of them, by name of the corner.

    All corners but the last take the users with at least ten ratings in the history, so that they differ in nothing
    but what is known: everything, 10, 5, 2 or 1 ratings, three stated genres, nothing. The last takes whoever has a
    rating below 7 and leaves nothing else in the history. Targets stay what they are, and what was watched is never
    shown, known to the model or not: a list is not worse because it offers what the user has really seen.

    Raises
    ------
    EvaluationError
        If nobody has ten ratings.
    """
    lengths = np.diff(eval_set.users.history.indptr)
    eval_set = replace(eval_set, unshown=eval_set.users.history)
    full = eval_set.select(np.flatnonzero(lengths >= max(LENGTHS)))
    if not len(full.users.user_ids):
        raise EvaluationError(f"no evaluation user has {max(LENGTHS)} ratings; the cold-start slices need some who do")
    users, catalog = full.users, eval_set.catalog
    slices = {WHOLE: users}
    for length in sorted(LENGTHS, reverse=True):
        kept = np.full(len(users.user_ids), length)
        slices[f"{length} ratings" if length > 1 else "1 rating"] = replace(
            users, history=shorten_histories(users, kept)
        )
    empty = csr_matrix(users.history.shape, dtype=users.history.dtype)
    tastes = find_favourite_genres(users.history, catalog, STATED_GENRES)
    slices[GENRES] = replace(users, history=empty, tastes=tastes)
    slices[NOTHING] = replace(users, history=empty)
    eval_sets = {name: replace(full, users=known) for name, known in slices.items()}
    low = replace(eval_set.users, history=_keep(eval_set.users.history, _find_low(eval_set.users.history)))
    someone = replace(eval_set, users=low).select(np.flatnonzero(np.diff(low.history.indptr) > 0))
    return eval_sets | ({LOW: someone} if len(someone.users.user_ids) else {})


def _find_low(history: RatingMatrix) -> Mask:
    return np.asarray(history.data < POSITIVE_RATING, dtype=np.bool_)


def _keep(ratings: RatingMatrix, kept: Mask) -> RatingMatrix:
    """Keep some of the stored ratings."""
    left = ratings.copy()
    left.data = np.where(kept, left.data, 0.0).astype(ratings.dtype)
    left.eliminate_zeros()
    return left


def hide_titles(world: EvaluationData, share: float = HIDDEN_SHARE) -> tuple[EvaluationData, Mask]:
    """Make some titles as good as new: nobody has rated them, and no score, rank or audience is known of them.

    Returns
    -------
    The world without their ratings, and which titles they are, `(n_items,)`: the same ones every time, by a hash.
    """
    percentile = hash_ids(world.catalog.item_ids, salt=9) % np.uint64(10_000)
    hidden = np.asarray(percentile < np.uint64(round(share * 10_000)), dtype=np.bool_)
    table = world.interactions.table
    rated = hidden[world.catalog.positions(table[Columns.Item].to_numpy())]
    items = world.catalog.items.copy()
    items.loc[hidden, _TOLD_BY_USERS] = np.nan
    return replace(world, catalog=Catalog(items), interactions=Interactions(table[~rated])), hidden


def build_unrated_evaluation_set(eval_set: EvaluationSet, hidden: Mask) -> EvaluationSet:
    """Evaluate a model on titles whose ratings were hidden from it.

    Their histories lose the hidden titles; their targets become the hidden titles that they like, wherever those stood
    before. Whoever likes none has nothing to say.

    Parameters
    ----------
    eval_set
        Built from the whole world, ratings of the hidden titles included.

    Raises
    ------
    EvaluationError
        If nobody likes a hidden title.
    """
    users = eval_set.users
    everything = (users.history + users.targets).tocsr()
    wanted = hidden[everything.indices] & (everything.data >= POSITIVE_RATING)
    seen = users.history.tocsr()
    changed = replace(
        eval_set,
        users=Users(users.user_ids, _keep(seen, ~hidden[seen.indices]), _keep(everything, wanted), users.tastes),
    )
    chosen = changed.select(np.flatnonzero(np.diff(changed.users.targets.indptr) > 0))
    if not len(chosen.users.user_ids):
        raise EvaluationError("no evaluation user likes a hidden title; hide more titles or take more users")
    return replace(chosen, franchises=None)


def summarise(result: EvaluationResult, *, seed: int = 0) -> Mapping[str, Any]:
    """Give each headline metric its mean and interval, JSON-ready."""
    return {
        metric: asdict(bootstrap_interval(result.metrics[metric], rng=np.random.default_rng(seed)))
        for metric in _METRICS
        if metric in result.metrics and not np.isnan(result.metrics[metric]).all()
    }
