"""One list for several users who watch together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.models.serving import ServingModel
from recsys.recommender import UserProfile
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


def recommend_together(model: ServingModel, profiles: Sequence[UserProfile], allowed: Mask, k: int) -> SharedList:
    """Rank titles that nobody has seen by the mean of every user's percentile.

    The scores of two users cannot be compared, their places can: every user brings the best titles of a list of their
    own into one pool, everyone ranks the whole pool, and a title that is below the 40th percentile of anybody is left
    out while others are left.

    Parameters
    ----------
    allowed
        `(n_items,)`; False for filtered titles.
    """
    recommender = model.recommender
    free = allowed.copy()
    for profile in profiles:
        free[recommender.catalog.positions(profile.item_ids)] = False
    lists = [recommender.recommend(profile, k=POOL, allowed=free) for profile in profiles]
    item_ids = np.unique(np.concatenate([found.item_ids for found in lists]))
    positions = recommender.catalog.positions(item_ids)
    places, ratings = [], []
    for profile in profiles:
        history, tastes = profile.to_history(recommender.catalog), profile.to_tastes(recommender.catalog)
        scores = recommender.score(history, tastes, [positions])
        order = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
        places.append(order.astype(np.float32) * np.float32(100 / max(len(order) - 1, 1)))
        ratings.append(recommender.predict_ratings(profile, item_ids))
    percentiles, predicted = np.stack(places, axis=1), np.stack(ratings, axis=1)
    below = percentiles.min(axis=1) < FLOOR
    best = np.lexsort((item_ids, -percentiles.mean(axis=1), below))[:k]
    return SharedList(item_ids[best], percentiles[best], predicted[best])
