"""Which single titles of the history speak for a candidate: what the sums of the item-item models hide."""

import numpy as np
import numpy.typing as npt

from recsys.features.pairs import FeatureColumns, Pairs
from recsys.types import Floats, Positions, RatingMatrix

# Prior strength of a neighbour rating, in units of the summed weights.
WEIGHT_SHRINKAGE = 0.1


def compute_neighbour_support(pairs: Pairs) -> FeatureColumns:
    """Describe the contributions of single titles to the score of each item-item model.

    For each model the strongest contribution, the number of titles that contribute, and the mean of the user's ratings
    of them, as deviations from the user's mean weighted by contribution: the classic item-based prediction (Sarwar et
    al., WWW 2001).
    """
    kinds = ("strongest", "supporters", "rating")
    features: FeatureColumns = {
        f"{name}_{kind}": np.zeros(len(pairs.rows), dtype=np.float32) for name in pairs.supporters for kind in kinds
    }
    start = 0
    for row, positions in enumerate(pairs.candidates):
        part = slice(start, start + len(positions))
        start = part.stop
        seen, ratings = pairs.seen(row)
        watched = np.zeros(pairs.history.shape[1], dtype=np.float32)
        watched[seen] = 1.0
        deviations = np.zeros_like(watched)
        deviations[seen] = ratings - pairs.means[row]
        for name, supporters in pairs.supporters.items():
            strongest, number, mean = _summarise(supporters, positions, watched, deviations)
            features[f"{name}_strongest"][part] = strongest
            features[f"{name}_supporters"][part] = number
            features[f"{name}_rating"][part] = mean
    return features


def _summarise(
    supporters: RatingMatrix, positions: Positions, watched: Floats, deviations: Floats
) -> tuple[Floats, Floats, Floats]:
    """Reduce the rows of an item-item matrix over one user's history."""
    rows = supporters[positions]
    weights = np.maximum(rows.data, 0.0) * watched[rows.indices]
    totals = sum_rows(weights, rows.indptr)
    means = sum_rows(weights * deviations[rows.indices], rows.indptr) / (totals + WEIGHT_SHRINKAGE)
    return max_rows(weights, rows.indptr), sum_rows((weights > 0).astype(np.float32), rows.indptr), means


def sum_rows(values: Floats, indptr: npt.NDArray[np.integer]) -> Floats:
    """Sum runs of values, `(n_rows,)`; an empty run sums to 0."""
    return _reduce(np.add, values, indptr)


def max_rows(values: Floats, indptr: npt.NDArray[np.integer]) -> Floats:
    """Take the largest of runs of values, `(n_rows,)`; 0 for an empty run."""
    return _reduce(np.maximum, values, indptr)


def _reduce(operation: np.ufunc, values: Floats, indptr: npt.NDArray[np.integer]) -> Floats:
    reduced = np.zeros(len(indptr) - 1, dtype=np.float32)
    filled = np.flatnonzero(np.diff(indptr))
    if len(filled):
        reduced[filled] = operation.reduceat(values, indptr[filled])
    return reduced
