"""The singular value decomposition that the embeddings of trained models start from.

Source: Cremonesi, Koren & Turrin, "Performance of recommender algorithms on top-N recommendation tasks" (RecSys 2010).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.extmath import randomized_svd

from recsys.retrieval.rating_sums import EVIDENCE
from recsys.types import Floats, RatingMatrix

POWER_ITERATIONS: Final = 6
# The longest title vector becomes so long; the rest of the unit is the last coordinate.
LONGEST: Final = 0.95


@dataclass(frozen=True)
class Decomposition:
    """Vectors whose inner products are the scores of PureSVD, up to a factor for each user.

    Parameters
    ----------
    embeddings
        What a history sums up, `(n_items, n_factors)`.
    units
        Unit vectors of the titles, `(n_items, n_factors)`: cosines with them are the inner products, since the last
        coordinate, which no embedding has, makes up for the length (Bachrach et al., "Speeding up the Xbox recommender
        system using a Euclidean transformation for inner-product spaces", RecSys 2014).
    """

    embeddings: Floats
    units: Floats


def weigh(ratings: RatingMatrix) -> RatingMatrix:
    """Replace ratings by what they tell of a user's taste."""
    weights = EVIDENCE[np.rint(ratings.data).astype(np.intp).clip(0, 10)]
    return csr_matrix((weights, ratings.indices, ratings.indptr), shape=ratings.shape)


def decompose(ratings: RatingMatrix, n_factors: int, *, popularity_damping: float, seed: int) -> Decomposition:
    """Decompose ratings in which a title counts less the more ratings it has.

    Parameters
    ----------
    popularity_damping
        The power of the number of ratings that a title is divided by, 0..1.
    """
    n_ratings = np.bincount(ratings.indices, minlength=ratings.shape[1])
    damping = np.maximum(n_ratings, 1).astype(np.float32)[:, np.newaxis] ** popularity_damping
    damped = weigh(ratings)
    damped.data = damped.data / damping[damped.indices, 0]
    vectors = np.zeros((ratings.shape[1], n_factors - 1), dtype=np.float32)
    n_kept = min(n_factors - 1, *ratings.shape)
    if ratings.nnz:
        vectors[:, :n_kept] = randomized_svd(damped, n_kept, n_iter=POWER_ITERATIONS, random_state=seed)[2].T
    lengths = vectors * damping
    lengths *= LONGEST / max(float(np.linalg.norm(lengths, axis=1).max(initial=0.0)), 1e-9)
    units = np.hstack([lengths, np.sqrt(1 - (lengths**2).sum(axis=1, keepdims=True))])
    # Users are normalised, so that the scale is free: the one at which steps of one size fit both kinds of vectors.
    embeddings = np.pad(vectors / damping, ((0, 0), (0, 1)))
    embeddings /= max(float(np.linalg.norm(embeddings, axis=1).max(initial=0.0)), 1e-9)
    return Decomposition(embeddings.astype(np.float32), units.astype(np.float32))
