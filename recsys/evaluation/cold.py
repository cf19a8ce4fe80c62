"""People of whom little is known, and titles that nobody has rated: the corners where recommenders fail first."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.people import People, find_favourite_genres, shorten_histories
from recsys.data.splits import hash_ids
from recsys.evaluation.intervals import bootstrap_interval
from recsys.evaluation.judging import Judgement
from recsys.evaluation.jury import Jury, World
from recsys.exceptions import EvaluationError
from recsys.types import Mask, RatingMatrix

LENGTHS: Final = (1, 2, 5, 10)
STATED_GENRES: Final = 3
HIDDEN_SHARE: Final = 0.05
WHOLE, NOTHING, GENRES, LOW = "whole history", "nothing", "only genres", "only low ratings"
# What a site counts once people watch and rate.
_TOLD_BY_PEOPLE: Final = [
    ItemColumns.MeanScore,
    ItemColumns.Ranked,
    ItemColumns.Popularity,
    *ItemColumns.Audience,
    *ItemColumns.ScoreCounts,
]
_METRICS: Final = ("ndcg_at_10", "recall_at_10", "recall_at_100")


def build_corners(jury: Jury) -> dict[str, Jury]:
    """Make juries of the same people with less and less known of them, by name of the corner.

    All corners but the last take the people with at least ten ratings in the history, so that they differ in nothing
    but what is known: everything, 10, 5, 2 or 1 ratings, three stated genres, nothing. The last takes whoever has a
    rating below 7 and leaves nothing else in the history. Targets stay what they are, and what was watched is never
    shown, known to the model or not: a list is not worse because it offers what the person has really seen.

    Raises
    ------
    EvaluationError
        If nobody has ten ratings.
    """
    lengths = np.diff(jury.people.history.indptr)
    jury = replace(jury, unshown=jury.people.history)
    full = jury.select(np.flatnonzero(lengths >= max(LENGTHS)))
    if not len(full.people.user_ids):
        raise EvaluationError(f"nobody among the judges has {max(LENGTHS)} ratings; the cold corners need some who do")
    people, catalog = full.people, jury.catalog
    corners = {WHOLE: people}
    for length in sorted(LENGTHS, reverse=True):
        kept = np.full(len(people.user_ids), length)
        corners[f"{length} ratings" if length > 1 else "1 rating"] = replace(
            people, history=shorten_histories(people, kept)
        )
    empty = csr_matrix(people.history.shape, dtype=people.history.dtype)
    tastes = find_favourite_genres(people.history, catalog, STATED_GENRES)
    corners[GENRES] = replace(people, history=empty, tastes=tastes)
    corners[NOTHING] = replace(people, history=empty)
    juries = {name: replace(full, people=known) for name, known in corners.items()}
    low = replace(jury.people, history=_keep(jury.people.history, _find_low(jury.people.history)))
    someone = replace(jury, people=low).select(np.flatnonzero(np.diff(low.history.indptr) > 0))
    return juries | ({LOW: someone} if len(someone.people.user_ids) else {})


def _find_low(history: RatingMatrix) -> Mask:
    return np.asarray(history.data < POSITIVE_RATING, dtype=np.bool_)


def _keep(ratings: RatingMatrix, kept: Mask) -> RatingMatrix:
    """Keep some of the stored ratings."""
    left = ratings.copy()
    left.data = np.where(kept, left.data, 0.0).astype(ratings.dtype)
    left.eliminate_zeros()
    return left


def hide_titles(world: World, share: float = HIDDEN_SHARE) -> tuple[World, Mask]:
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
    items.loc[hidden, _TOLD_BY_PEOPLE] = np.nan
    return replace(world, catalog=Catalog(items), interactions=Interactions(table[~rated])), hidden


def summon_unrated_jury(jury: Jury, hidden: Mask) -> Jury:
    """Let the people of a jury judge what a model makes of hidden titles.

    Their histories lose the hidden titles; their targets become the hidden titles that they like, wherever those stood
    before. Whoever likes none has nothing to say.

    Parameters
    ----------
    jury
        Summoned from the whole world, ratings of the hidden titles included.

    Raises
    ------
    EvaluationError
        If nobody likes a hidden title.
    """
    people = jury.people
    everything = (people.history + people.targets).tocsr()
    wanted = hidden[everything.indices] & (everything.data >= POSITIVE_RATING)
    seen = people.history.tocsr()
    changed = replace(
        jury,
        people=People(people.user_ids, _keep(seen, ~hidden[seen.indices]), _keep(everything, wanted), people.tastes),
    )
    chosen = changed.select(np.flatnonzero(np.diff(changed.people.targets.indptr) > 0))
    if not len(chosen.people.user_ids):
        raise EvaluationError("nobody among the judges likes a hidden title; hide more titles or take more people")
    return replace(chosen, franchises=None)


def summarise(judgement: Judgement, *, seed: int = 0) -> Mapping[str, Any]:
    """Give each headline metric its mean and interval, JSON-ready."""
    return {
        metric: asdict(bootstrap_interval(judgement.metrics[metric], rng=np.random.default_rng(seed)))
        for metric in _METRICS
        if metric in judgement.metrics and not np.isnan(judgement.metrics[metric]).all()
    }
