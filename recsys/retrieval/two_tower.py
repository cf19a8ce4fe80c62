"""Two towers: titles and histories become unit vectors of one space, and the nearest titles are recommended.

PyTorch trains the towers (`two_tower_training`); they are exported to ONNX and served by onnxruntime.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.exceptions import ArtifactError, NotFittedError
from recsys.files import UNREADABLE
from recsys.progress import OnProgress, ignore_progress
from recsys.retrieval.base import ArrayModel, State, map_values, read_state
from recsys.retrieval.onnx_tower import OnnxTower
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.retrieval.training_log import TrainingLog
from recsys.types import Floats, Mask, RatingMatrix

# Histories of at most so many titles are embedded by the tower for cold starts.
MAX_FAVOURITES: Final = 5
USER, COLD_START, ITEM = "user", "cold_start", "item"
TOWERS: Final = (USER, COLD_START, ITEM)


@dataclass(frozen=True)
class FittedTowers:
    """What training leaves.

    Parameters
    ----------
    vectors
        Unit vectors of the titles, `(n_items, n_factors)`.
    embeddings
        What a history pools, `(n_items, n_factors)`.
    """

    vectors: Floats
    embeddings: Floats
    towers: Mapping[str, OnnxTower]
    training: TrainingLog


def weigh_history(history: RatingMatrix) -> tuple[RatingMatrix, Mask]:
    """Turn ratings into the weights with which titles are pooled, and tell which histories are cold starts.

    A cold start has one to five titles; what is not liked among them counts only where nothing is.

    Returns
    -------
    CSR `(n_users, n_items)`, and a mask `(n_users,)`.
    """
    lengths = np.diff(history.indptr)
    cold = (lengths > 0) & (lengths <= MAX_FAVOURITES)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    liked = history.data >= POSITIVE_RATING
    likes_something = np.bincount(rows[liked], minlength=len(lengths)) > 0
    weights = map_values(history, EVIDENCE)
    weights.data[(cold & likes_something)[rows] & ~liked] = 0.0
    weights.eliminate_zeros()
    return weights, cold


@dataclass
class TwoTower(ArrayModel):
    """Inner products of unit vectors: of a history by the user tower, of a title by the item tower.

    The item tower reads genres, metadata and synopsis, and adds to each title what its ratings say. A history is the
    sum of the embeddings of its titles, weighted by the ratings; up to five titles are a cold start, which has a tower
    of its own.

    Parameters
    ----------
    n_factors
        Length of the vectors.
    n_epochs, n_cold_epochs
        Passes over the users for both towers, then for the tower of cold starts on top of the finished title vectors.
    batch_size
        Users a step.
    learning_rate
        Largest step of Adam; it rises for a tenth of the steps and falls to zero afterwards.
    n_negatives
        Titles sampled a step, as `likes ** negative_power`.
    popularity_damping
        By how much, 0..1, popular titles count less in a history before training.
    temperature
        Of the first softmax; learned from there on.
    hidden
        Width of the perceptron in a user tower.
    text_vectors
        Synopsis embeddings `(n_items, 384)` in catalog order.
    on_progress
        Told of every epoch.
    """

    n_factors: int = 128
    n_epochs: int = 8
    n_cold_epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 2e-3
    n_negatives: int = 2000
    negative_power: float = 0.5
    popularity_damping: float = 0.25
    temperature: float = 0.02
    hidden: int = 256
    seed: int = 0
    text_vectors: Floats | None = field(default=None, repr=False, compare=False)
    on_progress: OnProgress = field(default=ignore_progress, repr=False, compare=False)
    name: ClassVar[str] = "two_tower"
    vectors_: Floats | None = field(default=None, repr=False)
    embeddings_: Floats | None = field(default=None, repr=False)
    towers_: Mapping[str, OnnxTower] = field(default_factory=dict, repr=False)
    training_: TrainingLog = field(default_factory=TrainingLog, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Train both towers, export them and compare what onnxruntime computes with what PyTorch does.

        Raises
        ------
        RetrainError
            If an exported tower differs from the trained one.
        """
        from recsys.retrieval.two_tower_training import fit_two_tower  # training only: brings PyTorch

        fitted = fit_two_tower(self, ratings, catalog)
        self.vectors_, self.embeddings_ = fitted.vectors, fitted.embeddings
        self.towers_, self.training_ = fitted.towers, fitted.training
        return self

    def score(self, history: RatingMatrix) -> Floats:
        """Compute the inner products of each history with all titles, `(n_users, n_items)`; 0 for an empty history."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return np.asarray(self.embed_users(history) @ self.vectors_.T, dtype=np.float32)

    def embed_users(self, history: RatingMatrix) -> Floats:
        """Embed each history as a unit vector, `(n_users, n_factors)`; zeros for an empty one."""
        if self.embeddings_ is None:
            raise NotFittedError(self)
        weights, cold = weigh_history(history)
        pooled = np.asarray(weights @ self.embeddings_, dtype=np.float32)
        n_titles = np.diff(weights.indptr).astype(np.float32)[:, np.newaxis]
        users = np.zeros_like(pooled)
        for tower, rows in ((USER, ~cold), (COLD_START, cold)):
            chosen = np.flatnonzero(rows & (n_titles[:, 0] > 0))
            if len(chosen):
                users[chosen] = self.towers_[tower].run(pooled=pooled[chosen], n_titles=n_titles[chosen])
        return users

    @property
    def item_vectors(self) -> Floats | None:
        """Unit vectors of the titles, `(n_items, n_factors)`; None before `fit`."""
        return self.vectors_

    def state(self) -> State:
        """Return the title vectors and the digests of the towers."""
        if self.vectors_ is None or self.embeddings_ is None:
            raise NotFittedError(self)
        digests = {tower: np.array(found.digest) for tower, found in self.towers_.items()}
        return {"vectors": self.vectors_, "embeddings": self.embeddings_, **digests}

    def save(self, folder: Path) -> None:
        """Write the arrays, the towers and what was noted of the training."""
        super().save(folder)
        for tower in TOWERS:
            self.towers_[tower].save(folder / f"{self.name}.{tower}.onnx")
        self.training_.save(folder, self.name)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the arrays; the towers are read by `load`."""
        vectors = state["vectors"]
        return cls(n_factors=vectors.shape[1], vectors_=vectors, embeddings_=state["embeddings"])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the item tower, which no request needs, is checked and left alone.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        """
        try:
            state = read_state(folder / f"{cls.name}.npz")
            model = cls.from_state(state)
            digests = {tower: str(state[tower]) for tower in TOWERS}
        except KeyError as error:
            raise ArtifactError(f"{cls.name}.npz holds no array {error}") from error
        except UNREADABLE as error:
            raise ArtifactError(f"{cls.name}.npz holds other arrays than {cls.name} wrote: {error}") from error
        model.towers_ = {
            tower: OnnxTower.load(folder / f"{cls.name}.{tower}.onnx", digest) for tower, digest in digests.items()
        }
        for tower in (USER, COLD_START):
            _ = model.towers_[tower].session
        model.training_ = TrainingLog.load(folder, cls.name)
        return model
