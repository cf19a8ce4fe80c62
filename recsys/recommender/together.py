"""One list for several users who watch together.

Source: Luce, "Individual Choice Behavior" (1959), for the probability of a choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.recommender.list_rules import ListOptions, find_watched, keep_first
from recsys.recommender.model import Recommender
from recsys.recommender.profile import UserProfile
from recsys.types import Floats, Ids, Mask

POOL: Final = 150  # titles that each user brings in
FLOOR: Final = 10.0  # percentile below which a title comes after all others, since a user would like it so little


@dataclass(frozen=True)
class SharedList:
    """Titles for several users, best first.

    Parameters
    ----------
    scores
        `(n_items,)`, 0..1: the probability that the title is the first choice from the pool, averaged over the users.
    percentiles
        `(n_items, n_users)`, 0..100: the share of the pool that a user would like less.
    predicted_ratings
        `(n_items, n_users)`, 1..10.
    """

    item_ids: Ids
    scores: Floats
    percentiles: Floats
    predicted_ratings: Floats


def recommend_together(
    recommender: Recommender,
    profiles: Sequence[UserProfile],
    allowed: Mask,
    k: int,
    options: ListOptions,
) -> SharedList:
    """Rank titles that nobody has seen by how probably they are a user's first choice, averaged over the users.

    Every user brings the best titles of a list of their own into one pool and ranks the whole pool. The softmax of a
    user's scores over it gives every user one vote, most of which goes to the titles at the top. Means of scores or of
    percentiles, by which everybody's middling titles win, serve groups worse: see `research/1-recommendation-quality`.
    A title that is below the FLOOR of anybody is left out while others are left. A season is next if everyone has
    watched those before it.

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
    places, ratings, chances = [], [], []
    for profile in profiles:
        history, tastes = profile.to_history(catalog), profile.to_tastes(catalog)
        scores = recommender.score(history, tastes, [positions])
        by_score = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
        percentiles = by_score.astype(np.float32) * np.float32(100 / max(len(by_score) - 1, 1))
        # scipy.special has a softmax, and is no part of the image of the service.
        weights = np.exp(scores - scores.max(initial=-np.inf))
        chances.append(weights / weights.sum())
        places.append(np.minimum(percentiles, np.float32(100.0)))  # rounding may go a little beyond
        ratings.append(recommender.predict_ratings(profile, item_ids))
    percentiles, predicted = np.stack(places, axis=1), np.stack(ratings, axis=1)
    below = percentiles.min(axis=1, initial=100.0) < FLOOR
    chance = np.asarray(np.mean(chances, axis=0), dtype=np.float32)
    best = np.lexsort((item_ids, -chance, below))
    if options.once_each:
        best = best[keep_first(positions[best], order)]
    best = best[:k]
    return SharedList(item_ids[best], chance[best], percentiles[best], predicted[best])
