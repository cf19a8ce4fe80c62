"""The titles of a history that a response shows."""

from typing import Final

import numpy as np

from recsys.columns import ItemColumns
from recsys.recommender.folded_user import FoldedUser
from recsys.recommender.model import Recommender
from recsys.types import Floats, Ids

MAX_WATCHED: Final = 20


def predict_watched(recommender: Recommender, user: FoldedUser) -> tuple[Ids, Floats]:
    """Return the best rated titles of a history, ties by members, and the rating predicted for each from the others."""
    profile, catalog = user.profile, recommender.catalog
    members = catalog.items[ItemColumns.Members].to_numpy(dtype=np.float32)[catalog.positions(profile.item_ids)]
    item_ids = profile.select_best(MAX_WATCHED, np.nan_to_num(members))
    return item_ids, recommender.predict_hidden(user, item_ids)
