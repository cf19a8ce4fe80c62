"""Latent-factor models: item vectors are learned, a user is solved for from the history."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.retrieval.base import ArrayModel, State, map_values
from recsys.types import Floats, RatingMatrix


def fold_in(vectors: Floats, gram: Floats, confidences: RatingMatrix, regularisation: float) -> npt.NDArray[np.float32]:
    """Solve for the user vectors that explain a history, item vectors held fixed.

    The user half-step of weighted matrix factorisation (Hu, Koren & Volinsky, ICDM 2008): unseen titles have
    confidence 1 and preference 0, seen ones confidence c and preference 1.

    Parameters
    ----------
    vectors
        Item vectors `(n_items, n_factors)`.
    gram
        `vectors.T @ vectors`, scaled by the weight of unseen titles, `(n_factors, n_factors)`.
    confidences
        CSR `(n_users, n_items)`.

    Returns
    -------
    User vectors `(n_users, n_factors)`; zero for an empty history.
    """
    users = np.zeros((confidences.shape[0], vectors.shape[1]), dtype=np.float32)
    base = gram + regularisation * np.eye(len(gram), dtype=np.float32)
    for row in range(len(users)):
        part = slice(confidences.indptr[row], confidences.indptr[row + 1])
        seen, confidence = vectors[confidences.indices[part]], confidences.data[part]
        if len(seen):
            users[row] = np.linalg.solve(base + (seen.T * (confidence - 1)) @ seen, seen.T @ confidence)
    return users


@dataclass
class Als(ArrayModel):
    """Weighted matrix factorisation fitted by alternating least squares (`implicit`).

    Parameters
    ----------
    n_factors, regularisation, n_iterations
        As in `implicit.als.AlternatingLeastSquares`.
    alpha
        Confidence of a title rated 10 over one that was not rated.
    """

    n_factors: int = 128
    regularisation: float = 20.0
    n_iterations: int = 15
    alpha: float = 5.0
    seed: int = 0
    name: ClassVar[str] = "als"
    vectors_: Floats | None = field(default=None, repr=False)

    def _confidences(self, ratings: RatingMatrix) -> RatingMatrix:
        strength = np.clip((np.arange(11) - 4) / 6, 0.05, 1.0)
        return map_values(ratings, (1 + self.alpha * strength).astype(np.float32))

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Learn item vectors; one thread, because the order of sums on several is not fixed."""
        # Training only: the service does not carry these packages.
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            model = AlternatingLeastSquares(
                factors=self.n_factors,
                regularization=self.regularisation,
                iterations=self.n_iterations,
                random_state=self.seed,
                num_threads=1,
                use_gpu=False,
            )
            model.fit(self._confidences(ratings), show_progress=False)
        self._set_vectors(np.asarray(model.item_factors, dtype=np.float32))
        return self

    def _set_vectors(self, vectors: Floats) -> None:
        self.vectors_ = vectors
        self._gram = vectors.T @ vectors

    def score(self, history: RatingMatrix) -> Floats:
        """Fold the histories in and score the whole catalog, `(n_users, n_items)`."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        users = fold_in(self.vectors_, self._gram, self._confidences(history), self.regularisation)
        return np.asarray(users @ self.vectors_.T, dtype=np.float32)

    @property
    def item_vectors(self) -> Floats | None:
        """Item vectors, `(n_items, n_factors)`; None before `fit`."""
        return self.vectors_

    def state(self) -> State:
        """Return the item vectors and what the fold-in needs."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return {"vectors": self.vectors_, "constants": np.array([self.regularisation, self.alpha])}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the item vectors."""
        regularisation, alpha = state["constants"].tolist()
        model = cls(n_factors=state["vectors"].shape[1], regularisation=regularisation, alpha=alpha)
        model._set_vectors(state["vectors"])
        return model


@dataclass
class LightFm(ArrayModel):
    """LightFM's hybrid WARP embeddings; a user is the fold-in of liked titles.

    Parameters
    ----------
    unseen_weight
        Weight of titles outside the history in the fold-in; LightFM's vectors are not of unit scale, so that 1 is far
        too much.
    """

    n_components: int = 64
    n_epochs: int = 10
    unseen_weight: float = 0.01
    regularisation: float = 10.0
    seed: int = 0
    name: ClassVar[str] = "lightfm"
    vectors_: Floats | None = field(default=None, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Learn item representations from likes and content."""
        from recsys.features.lightfm_embeddings import LightFmParams, fit_lightfm  # training only

        params = LightFmParams(self.n_components, self.n_epochs)
        embeddings = fit_lightfm(ratings, catalog, params, seed=self.seed)
        self._set_vectors(embeddings.vectors)
        return self

    def _set_vectors(self, vectors: Floats) -> None:
        self.vectors_ = vectors
        self._gram = self.unseen_weight * (vectors.T @ vectors)

    def score(self, history: RatingMatrix) -> Floats:
        """Fold the histories in and score the whole catalog, `(n_users, n_items)`."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        # Confidence 2 for what was liked, so that the seen part of the normal equations has weight 1.
        liked = map_values(history, np.where(np.arange(11) >= 7, 2.0, 0.0).astype(np.float32))
        users = fold_in(self.vectors_, self._gram, liked, self.regularisation)
        return np.asarray(users @ self.vectors_.T, dtype=np.float32)

    @property
    def item_vectors(self) -> Floats | None:
        """Item vectors, `(n_items, n_components)`; None before `fit`."""
        return self.vectors_

    def state(self) -> State:
        """Return the item vectors and what the fold-in needs."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return {"vectors": self.vectors_, "constants": np.array([self.unseen_weight, self.regularisation])}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the item vectors."""
        unseen_weight, regularisation = state["constants"].tolist()
        model = cls(n_components=state["vectors"].shape[1], unseen_weight=unseen_weight, regularisation=regularisation)
        model._set_vectors(state["vectors"])
        return model
