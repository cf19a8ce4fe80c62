"""Histories in, described candidates out: the half of the path that training and serving share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.features.item_side import ItemSide
from recsys.features.pairs import Pairs
from recsys.retrieval.base import select_top
from recsys.retrieval.first_stage import FirstStage, ModelScores, select_candidates
from recsys.types import Floats, Mask, Positions, RatingMatrix


def find_allowed(history: RatingMatrix, tastes: Floats, items: ItemSide, allowed: Mask | None = None) -> Mask:
    """Tell for each user and title whether it may be a candidate, `(n_users, n_items)`.

    Watched titles never are. Where there is no history but tastes are stated, a title must carry a wanted genre, any
    of its genres counts.
    """
    n_users, n_items = history.shape
    mask = np.ones((n_users, n_items), dtype=bool) if allowed is None else np.tile(allowed, (n_users, 1))
    rows = np.repeat(np.arange(n_users), np.diff(history.indptr))
    mask[rows, history.indices] = False
    only_tastes = (np.diff(history.indptr) == 0) & (tastes.max(axis=1, initial=0.0) > 0)
    if only_tastes.any():
        mask[only_tastes] &= (tastes[only_tastes] > 0).astype(np.float32) @ items.catalog.genre_matrix.T > 0
    return mask


@dataclass(frozen=True)
class Retriever:
    """First stage and item side together."""

    first_stage: FirstStage
    items: ItemSide
    n_per_model: int

    def score(self, history: RatingMatrix) -> ModelScores:
        """Score the whole catalog with every model."""
        return self.first_stage.score(history)

    def describe(self, history: RatingMatrix, tastes: Floats, candidates: Sequence[Positions]) -> Pairs:
        """Prepare given candidates for featurising."""
        return Pairs(history, candidates, self.score(history), tastes, self.items, self.first_stage.supporters)

    def retrieve(self, history: RatingMatrix, tastes: Floats, allowed: Mask | None = None) -> Pairs:
        """Find candidates for each row of a history.

        Parameters
        ----------
        allowed
            `(n_items,)`; False for filtered titles.
        """
        scores = self.score(history)
        mask = find_allowed(history, tastes, self.items, allowed)
        proposed = {name: scores[name] for name in self.first_stage.proposers}
        candidates = select_candidates(proposed, mask, self.n_per_model)
        for row in np.flatnonzero(np.diff(history.indptr) == 0):
            # Without a history every personal score is zero and its order means nothing.
            candidates[row] = np.sort(
                select_top(scores["popular"][row : row + 1], mask[row : row + 1], 2 * self.n_per_model)[0]
            )
        return Pairs(history, candidates, scores, tastes, self.items, self.first_stage.supporters)
