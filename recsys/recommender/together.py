"""One list for several users who watch together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.recommender.list_rules import ListOptions, find_watched, keep_first
from recsys.recommender.model import Recommender
from recsys.recommender.profile import UserProfile
from recsys.types import Floats, Ids, Mask

POOL: Final = 150  # titles that each user brings in
FLOOR: Final = 40.0  # percentile below which a title is left out for whoever would like it so little


@dataclass(frozen=True)
class SharedList:
    """Titles for several users, best first.

    Parameters
    ----------
    percentiles
        `(n_items, n_users)`, 0..100: the share of the pool that a user would like less.
    predicted_ratings
        `(n_items, n_users)`, 1..10.
    """

    item_ids: Ids
    percentiles: Floats
    predicted_ratings: Floats


def recommend_together(
    recommender: Recommender,
    profiles: Sequence[UserProfile],
    allowed: Mask,
    k: int,
    options: ListOptions,
) -> SharedList:
    """Rank titles that nobody has seen by the mean of every user's percentile.

    The scores of two users cannot be compared, their places can: every user brings the best titles of a list of their
    own into one pool, everyone ranks the whole pool, and a title that is below the 40th percentile of anybody is left
    out while others are left. A season is next if everyone has watched those before it.

    Parameters
    ----------
    allowed
        `(n_items,)`; False for filtered titles.
    """
    catalog, order = recommender.catalog, recommender.retriever.items.season_order
    free = allowed.copy()
    for profile in profiles:
        free &= recommender.restrict(profile, None, options, None)
    seen = np.logical_or.reduce([find_watched(profile, catalog) for profile in profiles])
    free &= ~seen
    lists = [recommender.recommend(profile, k=POOL, allowed=free, options=options) for profile in profiles]
    item_ids = np.unique(np.concatenate([found.item_ids for found in lists]))
    positions = catalog.positions(item_ids)
    places, ratings = [], []
    for profile in profiles:
        history, tastes = profile.to_history(catalog), profile.to_tastes(catalog)
        scores = recommender.score(history, tastes, [positions])
        by_score = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
        percentiles = by_score.astype(np.float32) * np.float32(100 / max(len(by_score) - 1, 1))
        places.append(np.minimum(percentiles, np.float32(100.0)))  # rounding may go a little beyond
        ratings.append(recommender.predict_ratings(profile, item_ids))
    percentiles, predicted = np.stack(places, axis=1), np.stack(ratings, axis=1)
    below = percentiles.min(axis=1, initial=100.0) < FLOOR
    best = np.lexsort((item_ids, -percentiles.mean(axis=1), below))
    if options.once_each:
        best = best[keep_first(positions[best], order)]
    best = best[:k]
    return SharedList(item_ids[best], percentiles[best], predicted[best])
