"""Popularity: the titles that most training users like, or that have most members on MyAnimeList."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.retrieval.base import ArrayModel, State
from recsys.retrieval.leave_one_out import Folded, Unchanged
from recsys.retrieval.rating_sums import RatingCounts, count_ratings
from recsys.types import Floats, RatingMatrix


class SameForEveryUser(ArrayModel):
    """Shared part: one score a title, `(n_items,)`."""

    personal: ClassVar[bool] = False
    scores_: Floats | None = None

    def score(self, history: RatingMatrix) -> Floats:
        """Repeat the scores for every user, `(n_users, n_items)`."""
        if self.scores_ is None:
            raise NotFittedError(self)
        return np.broadcast_to(self.scores_, (history.shape[0], len(self.scores_)))

    def fold(self, history: RatingMatrix) -> Folded:
        """Read nothing of a history."""
        return Unchanged(self.score(history))

    def state(self) -> State:
        """Return the scores."""
        if self.scores_ is None:
            raise NotFittedError(self)
        return {"scores": self.scores_}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the scores."""
        model = cls()
        model.scores_ = state["scores"]
        return model


@dataclass
class Popular(SameForEveryUser):
    """Score of a title = log(1 + number of training users who rated it 7 or more)."""

    name: ClassVar[str] = "popular"

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Count the likes of each title."""
        return self.fit_sums(count_ratings(ratings))

    def fit_sums(self, counts: RatingCounts) -> Self:
        """Fit from what the ratings of all training users add up to."""
        self.scores_ = np.log1p(counts.n_likes.astype(np.float32))
        return self


@dataclass
class MostMembers(SameForEveryUser):
    """Score of a title = its members on MyAnimeList, 0 where unknown."""

    name: ClassVar[str] = "most_members"
    serves_cold_start_users: ClassVar[bool] = True

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Read the members of each title; ratings are not read."""
        self.scores_ = catalog.items[ItemColumns.Members].fillna(0).to_numpy(dtype=np.float32)
        return self
