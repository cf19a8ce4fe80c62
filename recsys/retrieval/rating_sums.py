"""What linear models need of the ratings: counts and products that are sums over users.

A sum over all users is the sum of those over disjoint groups of users, so that a fit need not hold all ratings at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags, vstack

from recsys.data.interactions import POSITIVE_RATING
from recsys.retrieval.base import map_values
from recsys.types import Floats, Positions, RatingMatrix

# Weight of a rating in the history: a disliked title is evidence of what a user watches too, but less.
EVIDENCE = np.clip((np.arange(11) - 3) / 5, 0.1, 1.4).astype(np.float32)
LIKED = (np.arange(11) >= POSITIVE_RATING).astype(np.float32)

TOGETHER: Final = 1024  # titles that are counted at once: bounds the memory of it

Counts = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RatingCounts:
    """Counts over users; those of two disjoint groups of users add up.

    Parameters
    ----------
    n_ratings, n_likes
        Ratings of each title, and those of 7 and more, `(n_items,)` each.
    lengths
        Number of users by number of their ratings, from 0.
    mean_evidence
        Mean over users of the evidence in their histories, each adding up to 1, `(n_items,)`.
    """

    n_ratings: Counts
    n_likes: Counts
    lengths: Counts
    mean_evidence: Floats

    @property
    def n_users(self) -> int:
        """How many users were counted."""
        return int(self.lengths.sum())

    @property
    def median_length(self) -> float:
        """Median number of ratings of a user, a user without any taken for one with one; 1 without users."""
        lengths = self.lengths.copy()
        if len(lengths) > 1:
            lengths[1] += lengths[0]
            lengths[0] = 0
        ends, n = np.cumsum(lengths), self.n_users
        if not n:
            return 1.0
        middle = np.searchsorted(ends, [(n - 1) // 2, n // 2], side="right")
        return float(np.maximum(middle, 1).mean())

    def __add__(self, other: Self) -> "RatingCounts":
        lengths = np.zeros(max(len(self.lengths), len(other.lengths)), dtype=np.int64)
        for counts in (self, other):
            lengths[: len(counts.lengths)] += counts.lengths
        share = other.n_users / max(self.n_users + other.n_users, 1)
        means = (1 - share) * self.mean_evidence.astype(np.float64) + share * other.mean_evidence
        return RatingCounts(
            self.n_ratings + other.n_ratings, self.n_likes + other.n_likes, lengths, means.astype(np.float32)
        )


def count_ratings(ratings: RatingMatrix) -> RatingCounts:
    """Count the ratings of some users, CSR `(n_users, n_items)`."""
    n_items = ratings.shape[1]
    return RatingCounts(
        np.bincount(ratings.indices, minlength=n_items),
        np.bincount(ratings.indices[ratings.data >= POSITIVE_RATING], minlength=n_items),
        np.bincount(np.diff(ratings.indptr), minlength=1),
        _compute_mean_evidence(ratings),
    )


def _compute_mean_evidence(ratings: RatingMatrix) -> Floats:
    if not ratings.shape[0]:
        return np.zeros(ratings.shape[1], dtype=np.float32)
    evidence = map_values(ratings, EVIDENCE)
    sums = np.asarray(evidence.sum(axis=1)).ravel()
    shares = diags(1 / np.maximum(sums, 1e-9)) @ evidence
    return np.asarray(shares.mean(axis=0), dtype=np.float32).ravel()


def select_frequent(n_ratings: Counts, min_ratings: int) -> Positions:
    """Select the titles with so many ratings, or, where no title has, those with the most, `(n_frequent,)`."""
    return np.flatnonzero(n_ratings >= min(min_ratings, n_ratings.max(initial=1)))


@dataclass(frozen=True)
class Products:
    """Products of histories over users; those of two disjoint groups of users add up.

    Parameters
    ----------
    frequent
        Positions of the titles that take part, `(n_frequent,)`.
    gram, targets
        Weighted products of what was rated with what was rated, and with what was liked, `(n_frequent, n_frequent)`.
    """

    frequent: Positions
    gram: Doubles
    targets: Doubles

    def __add__(self, other: Self) -> "Products":
        return Products(self.frequent, self.gram + other.gram, self.targets + other.targets)

    def __iadd__(self, other: Self) -> Self:
        # In place, so that no third pair of matrices is held.
        np.add(self.gram, other.gram, out=self.gram)
        np.add(self.targets, other.targets, out=self.targets)
        return self

    def scale(self, factor: float) -> "Products":
        """Multiply the weight of every user."""
        return Products(self.frequent, self.gram * factor, self.targets * factor)

    def select(self, frequent: Positions) -> "Products":
        """Keep some of the titles."""
        places = np.searchsorted(self.frequent, frequent)
        block = np.ix_(places, places)
        return Products(frequent, self.gram[block], self.targets[block])


def sum_products(ratings: RatingMatrix, frequent: Positions, discount: float, usual: float) -> Products:
    """Sum the products of some users, CSR `(n_users, n_items)`.

    In double precision, so that it does not show in the weights of a model how its users were grouped.

    Parameters
    ----------
    discount, usual
        Each user counts as (ratings / usual)^-discount.
    """
    inputs, outputs = (map_values(ratings, values)[:, frequent].astype(np.float64) for values in (EVIDENCE, LIKED))
    weighted = (diags(compute_user_weights(ratings, discount, usual)) @ inputs).T.tocsr()
    return Products(frequent, _multiply(weighted, inputs), _multiply(weighted, outputs))


def _multiply(one: RatingMatrix, other: RatingMatrix) -> Doubles:
    """Return the dense product of two sparse matrices, some rows after the other."""
    product = np.empty((one.shape[0], other.shape[1]), dtype=np.float64)
    for start in range(0, len(product), TOGETHER):
        rows = slice(start, start + TOGETHER)
        (one[rows] @ other).toarray(out=product[rows])
    return product


def compute_user_weights(ratings: RatingMatrix, discount: float, usual: float) -> Doubles:
    """Compute how much each user counts, `(n_users,)`."""
    lengths = np.maximum(np.diff(ratings.indptr), 1)
    return np.asarray((lengths / usual) ** -discount, dtype=np.float64)


def count_together(liked: RatingMatrix) -> Iterator[RatingMatrix]:
    """Count for each pair of titles the users who like both, some titles after the other, CSR `(n_titles, n_items)`.

    Parameters
    ----------
    liked
        CSR `(n_users, n_items)`, 1 for what a user likes.
    """
    columns = liked.tocsc()
    for start in range(0, liked.shape[1], TOGETHER):
        yield (columns[:, start : start + TOGETHER].T @ liked).tocsr()


def sum_likes(ratings: RatingMatrix) -> RatingMatrix:
    """Count for all pairs of titles the users who like both, CSR `(n_items, n_items)`; the counts add up."""
    return vstack(
        [csr_matrix((0, ratings.shape[1]), dtype=np.float32), *count_together(map_values(ratings, LIKED))], format="csr"
    )
