"""Latent-factor models: item vectors are learned, a user is solved for from the history."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dposv

from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.features.pairs import PairScores
from recsys.retrieval.base import ArrayModel, State, map_values
from recsys.retrieval.leave_one_out import Folded, find_places
from recsys.types import Floats, Positions, RatingMatrix

# The best titles of a whole history, one of which is close to the best without a title.
LEADERS: Final = 16
# What a score of float32 is off by at most, as a share of the product of the norms of both vectors.
ROUNDING: Final = 1e-5


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
    for row in range(len(users)):
        part = slice(confidences.indptr[row], confidences.indptr[row + 1])
        if part.stop > part.start:
            seen, confidence = vectors[confidences.indices[part]], confidences.data[part]
            users[row] = solve(*build_equations(seen, gram, confidence, regularisation))
    return users


Doubles: TypeAlias = npt.NDArray[np.float64]


def build_equations(seen: Floats, gram: Floats, confidence: Floats, regularisation: float) -> tuple[Doubles, Doubles]:
    """Build the normal equations of one history in double precision: matrix and right side.

    Parameters
    ----------
    seen, confidence
        Vectors of its titles, `(n_seen, n_factors)`, and their confidences.
    """
    matrix = gram.astype(np.float64)
    matrix.flat[:: len(matrix) + 1] += regularisation
    doubles = seen.astype(np.float64)
    matrix += (doubles.T * (confidence - 1.0)) @ doubles
    return matrix, doubles.T @ confidence


def solve(matrix: Doubles, sides: Doubles) -> Doubles:
    """Solve symmetric equations for one right side or more, positive definite ones by Cholesky's method."""
    _, solution, info = dposv(matrix, sides)
    return np.asarray(solution if info == 0 else np.linalg.solve(matrix, sides), dtype=np.float64)


@dataclass(frozen=True)
class FoldedVector:
    """A history as the vector that was solved for: removing a title is a change of rank one.

    Source: Sherman & Morrison, "Adjustment of an inverse matrix" (Annals of Mathematical Statistics 1950).

    Parameters
    ----------
    vectors, gram, confidences, regularisation
        As in `fold_in`, of one history.
    norms
        Of the vectors, `(n_items,)`.
    """

    vectors: Floats
    gram: Floats
    confidences: RatingMatrix
    regularisation: float
    norms: Floats

    @cached_property
    def _equations(self) -> tuple[Doubles, Doubles]:
        seen = self.vectors[self.confidences.indices]
        return build_equations(seen, self.gram, self.confidences.data, self.regularisation)

    @cached_property
    def _user(self) -> Doubles:
        """The user's vector, `(n_factors,)`; zero for an empty history."""
        return solve(*self._equations) if self.confidences.nnz else np.zeros(self.vectors.shape[1])

    @cached_property
    def scores(self) -> Floats:
        """Scores of the whole history, `(1, n_items)`."""
        return np.asarray(self._user.astype(np.float32)[None] @ self.vectors.T, dtype=np.float32)

    def embed_without(self, removed: Positions) -> Floats:
        """Solve for the vectors without each title, `(n_removed, n_factors)`; zero where nothing remains."""
        users = np.repeat(self._user[None], len(removed), axis=0)
        places = find_places(self.confidences, removed)
        held = np.flatnonzero(places >= 0)
        if self.confidences.nnz == 1:
            users[held] = 0.0
        elif len(held):
            gone = self.vectors[removed[held]].astype(np.float64)
            confidence = self.confidences.data[places[held]].astype(np.float64)
            solved = solve(self._equations[0], gone.T).T
            own = (gone * solved).sum(axis=1)
            without = self._user - confidence[:, None] * solved
            shares = (confidence - 1) * (gone * without).sum(axis=1) / (1 - (confidence - 1) * own)
            users[held] = without + shares[:, None] * solved
        return users.astype(np.float32)

    def score_without(self, removed: Positions) -> Floats:
        """Score the catalog without each title, `(n_removed, n_items)`."""
        return np.asarray(self.embed_without(removed) @ self.vectors.T, dtype=np.float32)

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> PairScores:
        """Score single titles without each title, and the best among those that can be the best.

        A score changes by at most the product of the norms of the title's vector and of the change of the user's.
        """
        users, whole = self.embed_without(removed), self.scores[0]
        values = np.einsum("ij,ij->i", users[rows], self.vectors[columns])
        change = float(np.linalg.norm(users - self._user, axis=1).max())
        leaders = np.argpartition(-whole, LEADERS)[:LEADERS] if len(whole) > LEADERS else np.arange(len(whole))
        reached = float((users @ self.vectors[leaders].T).max(axis=1).min())
        rounding = ROUNDING * (float(np.linalg.norm(self._user)) + change) * float(self.norms.max())
        possible = np.flatnonzero(whole + np.float32(change) * self.norms >= reached - rounding)
        return PairScores(values, (users @ self.vectors[possible].T).max(axis=1))


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

    def compute_confidences(self, ratings: RatingMatrix) -> RatingMatrix:
        """Compute how much each rating counts over a title that was not rated, CSR of the same shape."""
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
            model.fit(self.compute_confidences(ratings), show_progress=False)
        self._set_vectors(np.asarray(model.item_factors, dtype=np.float32))
        return self

    def _set_vectors(self, vectors: Floats) -> None:
        self.vectors_ = vectors
        self._gram = vectors.T @ vectors
        self._norms = np.linalg.norm(vectors, axis=1)

    def score(self, history: RatingMatrix) -> Floats:
        """Fold the histories in and score the whole catalog, `(n_users, n_items)`."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        users = fold_in(self.vectors_, self._gram, self.compute_confidences(history), self.regularisation)
        return np.asarray(users @ self.vectors_.T, dtype=np.float32)

    def fold(self, history: RatingMatrix) -> Folded:
        """Read a history, CSR `(1, n_items)`."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return FoldedVector(
            self.vectors_, self._gram, self.compute_confidences(history), self.regularisation, self._norms
        )

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
        self._norms = np.linalg.norm(vectors, axis=1)

    def score(self, history: RatingMatrix) -> Floats:
        """Fold the histories in and score the whole catalog, `(n_users, n_items)`."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        users = fold_in(self.vectors_, self._gram, _select_liked(history), self.regularisation)
        return np.asarray(users @ self.vectors_.T, dtype=np.float32)

    def fold(self, history: RatingMatrix) -> Folded:
        """Read a history, CSR `(1, n_items)`."""
        if self.vectors_ is None:
            raise NotFittedError(self)
        return FoldedVector(self.vectors_, self._gram, _select_liked(history), self.regularisation, self._norms)

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


def _select_liked(history: RatingMatrix) -> RatingMatrix:
    """Give what was liked confidence 2, so that the seen part of the normal equations has weight 1."""
    return map_values(history, np.where(np.arange(11) >= 7, 2.0, 0.0).astype(np.float32))
