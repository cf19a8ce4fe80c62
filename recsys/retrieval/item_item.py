"""Linear item-item models: the score of a title is a weighted sum over the titles in the history."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.sparse import coo_matrix, csr_matrix, hstack, vstack

from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.features.franchises import group_franchises
from recsys.features.pairs import PairScores
from recsys.retrieval.base import ArrayModel, State, check_square, map_values, sparse_from_state, sparse_to_state
from recsys.retrieval.leave_one_out import Folded, find_places
from recsys.retrieval.rating_sums import (
    EVIDENCE,
    LIKED,
    Products,
    RatingCounts,
    count_ratings,
    count_together,
    select_frequent,
    sum_products,
)
from recsys.types import Floats, Ids, Positions, RatingMatrix

# Columns that are worked on together: bounds the memory of a fit.
CHUNK: Final = 256
# Titles up to which regressions are solved side by side: each takes 32 bytes for every pair of titles.
AT_ONCE: Final = 2_000


def compute_sums(evidence: RatingMatrix, weights: RatingMatrix) -> Floats:
    """Return the dense product of histories and item-to-item weights, `(n_users, n_items)`."""
    from recsys.retrieval.row_sums import multiply  # compiles, which not every importer needs

    return multiply(evidence, weights)


@dataclass(frozen=True)
class FoldedSum:
    """A history whose scores are a weighted sum over its titles: without a title they lack its summand.

    Parameters
    ----------
    evidence
        CSR `(1, n_items)`.
    weights
        CSR `(n_items, n_items)`.
    """

    evidence: RatingMatrix
    weights: RatingMatrix

    @cached_property
    def scores(self) -> Floats:
        """The whole sum, `(1, n_items)`."""
        return compute_sums(self.evidence, self.weights)

    def score_without(self, removed: Positions) -> Floats:
        """Subtract the summand of each title, `(n_removed, n_items)`."""
        scores = np.repeat(self.scores, len(removed), axis=0)
        places = find_places(self.evidence, removed)
        for row, (place, title) in enumerate(zip(places.tolist(), removed.tolist(), strict=True)):
            if place >= 0:
                part = slice(self.weights.indptr[title], self.weights.indptr[title + 1])
                scores[row, self.weights.indices[part]] -= self.evidence.data[place] * self.weights.data[part]
        return scores

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> PairScores:
        """Select pairs from `score_without`."""
        return PairScores.select(self.score_without(removed), rows, columns)


class ItemItem(ArrayModel):
    """Shared part: sparse item-to-item weights `(n_items, n_items)` and how to score with them."""

    weights_: RatingMatrix | None = None

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog for each row of a history, `(n_users, n_items)`."""
        if self.weights_ is None:
            raise NotFittedError(self)
        return compute_sums(map_values(history, EVIDENCE), self.weights_)

    def fold(self, history: RatingMatrix) -> Folded:
        """Read a history, CSR `(1, n_items)`."""
        if self.weights_ is None:
            raise NotFittedError(self)
        return FoldedSum(map_values(history, EVIDENCE), self.weights_)

    @property
    def item_weights(self) -> RatingMatrix:
        """CSR `(n_items, n_items)`: row i holds the weights of title i for the titles that it supports."""
        if self.weights_ is None:
            raise NotFittedError(self)
        return self.weights_

    def state(self) -> State:
        """Return the sparse weights."""
        if self.weights_ is None:
            raise NotFittedError(self)
        return sparse_to_state(self.weights_)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the sparse weights."""
        model = cls()
        model.weights_ = check_square(sparse_from_state(state))
        return model


@dataclass
class Ease(ItemItem):
    """EASE^R from all rated titles to liked ones, with what was found to improve it, and pruned.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019). The closed form is extended from
    Gram matrix to cross-Gram matrix, since the input (everything rated) differs from the output (what was liked).

    Parameters
    ----------
    regularisation
        Added to the diagonal of the Gram matrix.
    min_ratings
        Titles with fewer ratings are left out: their weights are noise, and the cost grows with the cube of the number
        of titles.
    n_kept
        Weights of largest magnitude kept in each column; the rest costs memory and brings nothing. Negative ones count
        as much: kept by value instead, the lists are worse than those of any regularisation.
    franchise_weight
        How much it counts that two titles are of one franchise, in users who gave both the evidence 1: each franchise
        joins the regression as such users would. Source: Jeunen, Van Balen & Goethals, "Closed-form models for
        collaborative filtering with side-information" (RecSys 2020).
    dropout
        Share 0..1, without 1, of the titles of a history that the regression learns to do without: popular titles are
        shrunk as much as they are popular. Source: Steck, "Autoencoders that don't overfit towards the identity"
        (NeurIPS 2020).
    discount
        How much less users with many ratings count: each counts as (ratings / median)^-discount; 0 for all alike.
    """

    regularisation: float = 80.0
    min_ratings: int = 20
    n_kept: int = 700
    franchise_weight: float = 22.0
    dropout: float = 0.25
    discount: float = 0.3
    name: ClassVar[str] = "ease"

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Solve the ridge regression of every title on all others, in closed form."""
        with take_turns(self, ratings):
            return self.fit_sums(*compute_sums_of_users(self, ratings), group_franchises(catalog, ratings), catalog)

    def fit_sums(self, counts: RatingCounts, products: Products, franchises: Ids, catalog: Catalog) -> Self:
        """Fit from what the ratings of all training users add up to, and the franchise of each title, `(n_items,)`."""
        regression = build_regression(self, counts, products, franchises)
        solution = regression.solve(self.regularisation, self.dropout)
        self.weights_ = regression.expand(keep_largest(solution, self.n_kept))
        return self


@dataclass(frozen=True)
class Regression:
    """The regression of liked titles on rated ones, before it is solved.

    Parameters
    ----------
    frequent
        Positions of the titles that take part, `(n_frequent,)`.
    n_ratings
        Their ratings, `(n_frequent,)`.
    gram, targets
        Products of the inputs, and of inputs and outputs, franchises included; `(n_frequent, n_frequent)` each.
    relatives, relation
        Pairs of titles of one franchise, and what that adds to the products of the inputs.
    franchises
        Number of each title's franchise, of all titles of the catalog, `(n_items,)`.
    """

    frequent: Positions
    n_ratings: Positions
    gram: npt.NDArray[np.float64]
    targets: npt.NDArray[np.float64]
    relatives: tuple[Positions, Positions]
    relation: float
    franchises: npt.NDArray[np.int64]

    def penalise(self, regularisation: float, dropout: float) -> npt.NDArray[np.float64]:
        """Return the matrix of the normal equations, `(n_frequent, n_frequent)`."""
        penalised = self.gram.copy()
        penalised[self.relatives] += self.relation
        penalised[np.diag_indices_from(penalised)] += regularisation + dropout / (1 - dropout) * np.diag(self.gram)
        return penalised

    def solve(self, regularisation: float, dropout: float) -> npt.NDArray[np.float64]:
        """Compute all weights, `(n_frequent, n_frequent)`, zero on the diagonal: no title may explain itself.

        Besides the result one matrix of that size is taken.
        """
        inverse = invert(self.penalise(regularisation, dropout))
        solution = inverse @ self.targets
        # The Lagrange multipliers of that constraint.
        inverse *= np.diag(solution) / np.diag(inverse)
        solution -= inverse
        np.fill_diagonal(solution, 0.0)
        return np.asarray(solution, dtype=np.float64)

    def expand(self, weights: RatingMatrix) -> RatingMatrix:
        """Place weights among the titles that take part into the whole catalog."""
        entries = weights.tocoo()
        places = self.frequent[entries.row], self.frequent[entries.col]
        return csr_matrix((entries.data, places), shape=(len(self.franchises), len(self.franchises)))


def invert(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Invert a symmetric positive definite matrix in its own memory, by Cholesky's method.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.
    """
    if not len(matrix):
        return matrix
    # LAPACK reads columns: of a symmetric matrix they are the rows, so that nothing is copied.
    factor, info = dpotrf(matrix.T, lower=1, overwrite_a=1)
    inverse, info = dpotri(factor, lower=1, overwrite_c=1) if not info else (factor, info)
    if info:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    for start in range(0, len(inverse), CHUNK):  # one half of it is set
        rows = slice(start, start + CHUNK)
        square = np.tril(inverse[rows, rows])
        inverse[rows, rows] = square + np.tril(square, -1).T
        inverse[rows, rows.stop :] = inverse[rows.stop :, rows].T
    return np.asarray(inverse)


_TURNS: Final = threading.Lock()


@contextmanager
def take_turns(model: Ease, ratings: RatingMatrix) -> Iterator[None]:
    """Let one fit of many titles at a time hold its matrices; other models of other folds are fitted meanwhile."""
    n_ratings = np.bincount(ratings.indices, minlength=ratings.shape[1])
    with _TURNS if len(select_frequent(n_ratings, model.min_ratings)) > AT_ONCE else nullcontext():
        yield


def compute_sums_of_users(model: Ease, ratings: RatingMatrix) -> tuple[RatingCounts, Products]:
    """Compute what a model needs of the ratings of all training users, CSR `(n_users, n_items)`."""
    counts = count_ratings(ratings)
    frequent = select_frequent(counts.n_ratings, model.min_ratings)
    return counts, sum_products(ratings, frequent, model.discount, counts.median_length)


def build_regression(model: Ease, counts: RatingCounts, products: Products, franchises: Ids) -> Regression:
    """Build the regression that a model's titles, user weights and franchises make; the products become part of it."""
    frequent = products.frequent
    shape = (len(frequent), int(franchises.max(initial=0)) + 1)
    members = csr_matrix((np.ones(len(frequent)), (np.arange(len(frequent)), franchises[frequent])), shape=shape)
    relatives = (members @ members.T).nonzero()
    products.targets[relatives] += model.franchise_weight
    return Regression(
        frequent,
        counts.n_ratings[frequent],
        products.gram,
        products.targets,
        relatives,
        model.franchise_weight,
        franchises,
    )


# As published, with nothing added but that disliked titles are evidence too, and pruned.
PUBLISHED_EASE: Final = Ease(regularisation=100.0, n_kept=300, franchise_weight=0.0, dropout=0.0, discount=0.0)


@dataclass
class ItemKnn(ItemItem):
    """Cosine between the columns of likes, shrunk for titles that few users share.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (WWW 2001).

    Parameters
    ----------
    shrinkage
        Added to the product of the norms.
    n_kept
        Neighbours kept for each title.
    """

    shrinkage: float = 20.0
    n_kept: int = 100
    name: ClassVar[str] = "item_knn"

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Compute the neighbours of every title."""
        liked = map_values(ratings, LIKED)
        n_likes = np.bincount(liked.indices, minlength=liked.shape[1])
        return self._fit(n_likes.astype(np.float32), count_together(liked))

    def fit_sums(self, counts: RatingMatrix) -> Self:
        """Fit from the users who like both of two titles, CSR `(n_items, n_items)`."""
        return self._fit(
            counts.diagonal(), (counts[start : start + CHUNK] for start in range(0, counts.shape[0], CHUNK))
        )

    def _fit(self, n_likes: Floats, parts: Iterable[RatingMatrix]) -> Self:
        """Fit from the likes of each title, and part by part from the users who like both of two titles."""
        n_items, norms, start = len(n_likes), np.sqrt(n_likes), 0
        kept = [csr_matrix((0, n_items), dtype=np.float32)]
        for part in parts:
            together = part.tocoo()
            own = together.row + start != together.col
            rows, columns, values = together.row[own], together.col[own], together.data[own]
            values = values / (norms[rows + start] * norms[columns] + self.shrinkage)
            kept.append(keep_largest_by_row(rows, columns, values, part.shape, self.n_kept))
            start += part.shape[0]
        self.weights_ = vstack(kept, format="csr").T.tocsr()
        return self


def keep_largest(weights: npt.NDArray[np.float64], n_kept: int) -> RatingMatrix:
    """Set all but the n weights of largest magnitude of each column to zero."""
    if n_kept >= len(weights):
        return csr_matrix(weights.astype(np.float32))
    parts = []
    for start in range(0, weights.shape[1], CHUNK):
        columns = weights[:, start : start + CHUNK]
        sizes = np.abs(columns)
        threshold = np.partition(sizes, len(weights) - n_kept, axis=0)[len(weights) - n_kept]
        parts.append(csr_matrix(np.where(sizes >= threshold, columns, 0.0).astype(np.float32)))
    return hstack(parts, format="csr")


def keep_largest_by_row(
    rows: Positions, columns: Positions, values: Floats, shape: tuple[int, int], n_kept: int
) -> RatingMatrix:
    """Build a CSR matrix from the n largest entries of each row; of equal ones the first columns are kept."""
    order = np.lexsort((columns, -values, rows))
    _, starts, counts = np.unique(rows[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, counts)
    kept = order[place < n_kept]
    return coo_matrix((values[kept].astype(np.float32), (rows[kept], columns[kept])), shape=shape).tocsr()
