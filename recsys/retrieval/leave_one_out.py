"""Scores of a history without one of its titles, for many of them, without scoring each remaining history anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
from scipy.sparse import csr_matrix

from recsys.features.pairs import PairScores
from recsys.retrieval.base import CandidateGenerator
from recsys.types import Floats, Positions, RatingMatrix


class Folded(Protocol):
    """A history as one model has read it."""

    @property
    def scores(self) -> Floats:
        """Scores of the whole history, `(1, n_items)`, those of `CandidateGenerator.score`."""
        ...

    def score_without(self, removed: Positions) -> Floats:
        """Score the history without each of some of its titles, `(n_removed, n_items)`.

        The same as `score` of the remaining histories up to the rounding of float32.
        """
        ...

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> PairScores:
        """Score single titles for the history without each of some of its titles.

        The same as a selection from `score_without` up to the rounding of float32, and faster where most titles can be
        left out.

        Parameters
        ----------
        removed
            At least one.
        rows, columns
            Of each pair its place in `removed`, ascending, and its title, `(n_pairs,)`.
        """
        ...


FoldedModels: TypeAlias = Mapping[str, Folded]


@dataclass(frozen=True)
class FoldedAnew:
    """A history of a model that knows no shorter way: what remains of it is scored each time."""

    model: CandidateGenerator
    history: RatingMatrix

    @cached_property
    def scores(self) -> Floats:
        """Scores of the whole history, `(1, n_items)`."""
        return self.model.score(self.history)

    def score_without(self, removed: Positions) -> Floats:
        """Score every remaining history, `(n_removed, n_items)`."""
        return self.model.score(remove_each(self.history, removed))

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> PairScores:
        """Select pairs from the scores of every remaining history."""
        return PairScores.select(self.score_without(removed), rows, columns)


@dataclass(frozen=True)
class Unchanged:
    """Scores that no title of a history changes."""

    scores: Floats

    def score_without(self, removed: Positions) -> Floats:
        """Repeat the scores, `(n_removed, n_items)`."""
        return np.broadcast_to(self.scores, (len(removed), self.scores.shape[1]))

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> PairScores:
        """Select pairs from the scores, which are the same for every row."""
        return PairScores(self.scores[0, columns], np.repeat(self.scores.max(axis=1), len(removed)))


def fold(model: CandidateGenerator, history: RatingMatrix) -> Folded:
    """Read a history, CSR `(1, n_items)`, by the method `fold` of a model that has one.

    Such a model removes a title from a history faster than it scores what remains; others score it anew.
    """
    read: Callable[[RatingMatrix], Folded] | None = getattr(model, "fold", None)
    return FoldedAnew(model, history) if read is None else read(history)


def remove_each(history: RatingMatrix, removed: Positions) -> RatingMatrix:
    """Repeat a history, CSR `(1, n_items)`, each time without one of its titles, `(n_removed, n_items)`."""
    kept = history.indices[None, :] != np.asarray(removed)[:, None]
    ends = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(history.indptr.dtype)
    values, indices = (np.broadcast_to(part, kept.shape)[kept] for part in (history.data, history.indices))
    return csr_matrix((values, indices, ends), shape=(len(kept), history.shape[1]))


def find_places(history: RatingMatrix, removed: Positions) -> Positions:
    """Find the entries of a history, CSR `(1, n_items)`, that hold some titles; -1 where it does not hold one."""
    order = np.argsort(history.indices, kind="stable")
    ordered = history.indices[order]
    places = np.minimum(np.searchsorted(ordered, removed), max(len(ordered) - 1, 0))
    if not len(ordered):
        return np.full(len(removed), -1, dtype=np.intp)
    return np.where(ordered[places] == removed, order[places], -1)
