"""From a stored user to a list, as the service makes it for a request that names the user and nothing else."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from recsys.data.catalog import Catalog
from recsys.recommender import Recommendations, Recommender, UserProfile
from recsys.recommender.list_rules import ListOptions
from recsys.recommender.model import WantedList
from recsys.storage.users import StoredUser
from recsys.types import Ids, ItemId, Mask, WatchStatus

SERVED: Final = ListOptions(seasons="next", without_disliked=True)  # the defaults of `POST /recommend/`


def build_stored_profile(catalog: Catalog, user: StoredUser) -> UserProfile:
    """Build the profile of a stored user from what the catalog holds; genres count where nothing rated is left."""
    rated = _keep_known(catalog, list(user.ratings))
    tastes = (
        {}
        if len(rated)
        else {genre: user.genre_shares[genre] for genre in catalog.genres if genre in user.genre_shares}
    )
    return UserProfile(
        rated,
        np.array([user.ratings[item_id] for item_id in rated.tolist()], dtype=np.float32),
        tastes,
        _keep_known(catalog, [item_id for item_id, status in user.statuses.items() if status != WatchStatus.Planned]),
        _keep_known(catalog, [item_id for item_id, status in user.statuses.items() if status == WatchStatus.Dropped]),
    )


def recommend_to_stored_users(
    recommender: Recommender, users: Sequence[StoredUser], *, k: int, allowed: Mask
) -> list[Recommendations]:
    """Recommend to each user without what they rated, listed or dismissed.

    Parameters
    ----------
    allowed
        `(n_items,)`; False for titles that are listed for nobody.
    """
    catalog = recommender.catalog
    wanted = []
    for user in users:
        left = allowed.copy()
        left[catalog.positions(_keep_known(catalog, [*user.dismissed_item_ids, *user.statuses]))] = False
        wanted.append(WantedList(build_stored_profile(catalog, user), k, left, SERVED))
    return recommender.recommend_many(wanted)


def _keep_known(catalog: Catalog, item_ids: list[ItemId]) -> Ids:
    """Return those of some ids that the catalog holds, ascending, each once."""
    ordered = np.unique(np.array(item_ids, dtype=np.int64))
    return ordered[catalog.contains(ordered)]
