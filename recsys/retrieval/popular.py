"""Popularity: what most users liked; the fallback for a user of whom nothing is known."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.retrieval.base import State
from recsys.types import Floats, RatingMatrix


@dataclass
class Popular:
    """Score of a title = log(1 + number of training users who rated it 7 or more)."""

    name: ClassVar[str] = "popular"
    scores_: Floats = field(init=False, repr=False, compare=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Count the likes of each title."""
        liked = (ratings >= POSITIVE_RATING).astype(np.float32)
        self.scores_ = np.log1p(np.asarray(liked.sum(axis=0)).ravel()).astype(np.float32)
        return self

    def score(self, history: RatingMatrix) -> Floats:
        """Give everybody the same scores, `(n_users, n_items)`."""
        return np.broadcast_to(self.scores_, (history.shape[0], len(self.scores_)))

    def state(self) -> State:
        """Return the scores."""
        return {"scores": self.scores_}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the scores."""
        model = cls()
        model.scores_ = state["scores"]
        return model
