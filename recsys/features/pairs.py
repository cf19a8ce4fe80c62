"""Users' histories side by side with the candidates that are to be described."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from recsys.features.item_side import ItemSide
from recsys.features.support import Support
from recsys.types import Floats, Positions, RatingMatrix

# Feature values by name, each `(n_pairs,)`.
FeatureColumns: TypeAlias = dict[str, npt.NDArray[np.floating]]


@dataclass(frozen=True)
class PairScores:
    """What one model scores.

    Parameters
    ----------
    values
        Scores of the pairs, `(n_pairs,)`.
    best
        The best score of each user among all titles, `(n_users,)`.
    """

    values: Floats
    best: Floats

    @classmethod
    def select(cls, scores: Floats, rows: Positions, columns: Positions) -> "PairScores":
        """Select pairs from the scores of all titles, `(n_users, n_items)`."""
        return cls(scores[rows, columns], scores.max(axis=1))


@dataclass(frozen=True)
class Pairs:
    """Users' histories and the candidates to describe.

    Parameters
    ----------
    history
        CSR `(n_users, n_items)` of ratings 1..10.
    candidates
        For each row of the history, positions of candidates; features come out in this order, user by user.
    scores
        First-stage scores by model, each `(n_users, n_items)`; empty where `selected` is given.
    tastes
        Stated genre weights `(n_users, n_genres)`, used where the history is empty.
    items
        The item side.
    support
        What titles say about one another, by item-item model.
    impersonal
        Models of `scores` that score the same for every user.
    whole, removed
        Where every row is the same history `(1, n_items)` without one of its titles, `(n_users,)`: that history and
        the titles.
    selected
        First-stage scores of the pairs alone, by model.
    """

    history: RatingMatrix
    candidates: Sequence[Positions]
    scores: Mapping[str, Floats]
    tastes: Floats
    items: ItemSide
    support: Mapping[str, Support] = field(default_factory=dict)
    impersonal: frozenset[str] = frozenset()
    whole: RatingMatrix | None = None
    removed: Positions | None = None
    selected: Mapping[str, PairScores] | None = None

    @cached_property
    def pair_scores(self) -> Mapping[str, PairScores]:
        """First-stage scores of the pairs, by model."""
        if self.selected is not None:
            return self.selected
        return {name: PairScores.select(scores, self.rows, self.columns) for name, scores in self.scores.items()}

    def select(self, row: int) -> "Pairs":
        """Keep one user."""
        one = slice(row, row + 1)
        scores = {name: values[one] for name, values in self.scores.items()}
        kept = {"history": self.history[one], "candidates": self.candidates[one], "tastes": self.tastes[one]}
        return replace(self, scores=scores, **kept)

    @cached_property
    def counts(self) -> npt.NDArray[np.intp]:
        """Candidates of each user, `(n_users,)`."""
        return np.array([len(positions) for positions in self.candidates], dtype=np.intp)

    @cached_property
    def rows(self) -> Positions:
        """User row of each pair, `(n_pairs,)`."""
        return np.repeat(np.arange(len(self.candidates)), self.counts)

    @cached_property
    def columns(self) -> Positions:
        """Item position of each pair, `(n_pairs,)`."""
        empty = np.empty(0, dtype=np.intp)
        return np.concatenate([empty, *self.candidates]).astype(np.intp)

    @cached_property
    def lengths(self) -> npt.NDArray[np.intp]:
        """Ratings of each user, `(n_users,)`."""
        return np.asarray(np.diff(self.history.indptr), dtype=np.intp)

    @cached_property
    def means(self) -> Floats:
        """Mean rating of each user, `(n_users,)`; NaN for an empty history."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.asarray(self.history.sum(axis=1)).ravel() / self.lengths, dtype=np.float32)

    @cached_property
    def watched(self) -> RatingMatrix:
        """The history with ones in place of ratings."""
        watched = self.history.copy()
        watched.data = np.ones_like(watched.data)
        return watched

    @cached_property
    def deviations(self) -> RatingMatrix:
        """The history with ratings minus the user's mean."""
        centred = self.history.copy()
        centred.data = centred.data - np.repeat(self.means, self.lengths)
        return centred

    def seen(self, row: int) -> tuple[Positions, Floats]:
        """Return positions and ratings of one user's history."""
        part = slice(self.history.indptr[row], self.history.indptr[row + 1])
        return self.history.indices[part], self.history.data[part]
