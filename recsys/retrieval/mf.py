"""Matrix factorisation of ratings: the cosine of a user's and a title's vector tells how the user would rate it.

PyTorch trains the vectors (`mf_training`); they are served by NumPy.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.features.item_side import normalise_rows
from recsys.progress import OnProgress, ignore_progress
from recsys.retrieval.base import ArrayModel, State, map_values
from recsys.retrieval.embedding import fold_in
from recsys.retrieval.training_log import TrainingLog
from recsys.types import Floats, RatingMatrix


@dataclass
class MatrixFactorisation(ArrayModel):
    """Unit vectors of users and titles, fitted to ratings from 0 (not rated) to 1 (rated 10).

    A new user's vector is solved for from the history, title vectors held fixed, and then made a unit.

    Parameters
    ----------
    n_factors
        Length of the vectors.
    min_ratings
        Users with fewer ratings are not trained on; if nobody has so many, all are. `OTAKU_MF_MIN_RATINGS` sets it for
        the weekly training.
    n_epochs
        Passes over the ratings at most.
    batch_size
        Ratings a step, titles that were not rated not counted.
    learning_rate
        Largest step of Adam.
    warm_up
        Epochs in which the learning rate rises to its largest.
    decay
        What it is multiplied by in each epoch afterwards.
    patience
        Epochs without a better validation loss after which training stops; the best weights are kept.
    n_negatives
        Titles that were not rated, drawn for each rating.
    validation_share
        Share 0..1 of the ratings that is held out of training.
    unseen_weight
        Weight of a title outside the history when a new user is solved for.
    regularisation
        Penalty on the length of that vector.
    on_progress
        Told of every epoch.
    """

    n_factors: int = 128
    min_ratings: int = 20
    n_epochs: int = 12
    batch_size: int = 4096
    learning_rate: float = 1e-3
    warm_up: int = 2
    decay: float = 0.8
    patience: int = 3
    n_negatives: int = 3
    validation_share: float = 0.1
    unseen_weight: float = 1.0
    regularisation: float = 10.0
    seed: int = 0
    on_progress: OnProgress = field(default=ignore_progress, repr=False, compare=False)
    name: ClassVar[str] = "mf"
    vectors_: Floats | None = field(default=None, repr=False)
    training_: TrainingLog = field(default_factory=TrainingLog, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Train on the ratings of active users; the catalog is not read."""
        from recsys.retrieval.mf_training import fit_factors  # training only: brings PyTorch

        vectors, self.training_ = fit_factors(self, ratings)
        self._set_vectors(vectors)
        return self

    def _set_vectors(self, vectors: Floats) -> None:
        self.vectors_ = vectors
        self._gram = self.unseen_weight * (vectors.T @ vectors)

    def score(self, history: RatingMatrix) -> Floats:
        """Compute the cosines of each user with all titles, `(n_users, n_items)`; 0 for an empty history."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return np.asarray(self.embed_users(history) @ self.vectors_.T, dtype=np.float32)

    def embed_users(self, history: RatingMatrix) -> Floats:
        """Solve for the unit vector of each history, `(n_users, n_factors)`; zeros for an empty one."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        shares = map_values(history, (1 + np.arange(11) / 10).astype(np.float32))
        return normalise_rows(fold_in(self.vectors_, self._gram, shares, self.regularisation))

    @property
    def item_vectors(self) -> Floats | None:
        """Unit vectors of the titles, `(n_items, n_factors)`; None before `fit`."""
        return self.vectors_

    def state(self) -> State:
        """Return the title vectors and what predictions need."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return {"vectors": self.vectors_, "constants": np.array([self.unseen_weight, self.regularisation])}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the title vectors."""
        unseen_weight, regularisation = state["constants"].tolist()
        vectors = state["vectors"]
        model = cls(n_factors=vectors.shape[1], unseen_weight=unseen_weight, regularisation=regularisation)
        model._set_vectors(vectors)
        return model

    def save(self, folder: Path) -> None:
        """Write the arrays and what was noted of the training."""
        super().save(folder)
        self.training_.save(folder, self.name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        """
        model = super().load(folder)
        model.training_ = TrainingLog.load(folder, cls.name)
        return model
