"""From a stored user to a list, as the service makes it for a request that names the user and nothing else."""

from collections.abc import Sequence
from typing import Final

from recsys.recommender import Recommendations, Recommender, UserProfile, build_profile
from recsys.recommender.list_rules import ListOptions
from recsys.recommender.model import WantedList
from recsys.storage.users import StoredUser
from recsys.types import Mask

SERVED: Final = ListOptions(seasons="next", without_disliked=True)  # the defaults of `POST /recommend/`


def build_stored_profile(recommender: Recommender, user: StoredUser) -> UserProfile:
    """Build the profile of a stored user from what the catalog holds."""
    return build_profile(recommender.catalog, user.ratings, statuses=user.statuses, tastes={}, shares=user.genre_shares)


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
        left[catalog.positions(catalog.select_known([*user.dismissed_item_ids, *user.statuses]))] = False
        wanted.append(WantedList(build_stored_profile(recommender, user), k, left, SERVED))
    return recommender.recommend_many(wanted)
