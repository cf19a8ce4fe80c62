"""Contributions of single titles of the history, which the sums of the item-item models do not show."""

import numpy as np
import numpy.typing as npt

from recsys.features.pairs import FeatureColumns, Pairs
from recsys.types import Floats, RatingMatrix

# Prior strength of a neighbour rating, in units of the summed weights.
WEIGHT_SHRINKAGE = 0.1
# Entries of an item-item matrix that are looked at together: bounds the memory of training.
MAX_ENTRIES = 2_000_000


def compute_neighbour_support(pairs: Pairs) -> FeatureColumns:
    """Describe the contributions of single titles to the score of each item-item model.

    For each model the strongest contribution, the number of titles that contribute, their share of all that could, by
    weight, and the mean of the user's ratings of them, as deviations from the user's mean weighted by contribution: the
    classic item-based prediction (Sarwar et al., WWW 2001).
    """
    features: FeatureColumns = {}
    for name, supporters in pairs.supporters.items():
        strongest, number, totals, deviations, possible = summarise_support(supporters, pairs)
        features[f"{name}_strongest"] = strongest
        features[f"{name}_supporters"] = number
        features[f"{name}_coverage"] = totals / (possible + WEIGHT_SHRINKAGE)
        features[f"{name}_rating"] = deviations / (totals + WEIGHT_SHRINKAGE)
    return features


def summarise_support(matrix: RatingMatrix, pairs: Pairs) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Reduce, for each pair, the candidate's row of an item-item matrix over the user's history.

    Returns
    -------
    The largest weight of a watched title, the number of such weights, their sum, the sum of them times the user's
    rating less the user's mean, and the sum of all weights, watched or not, each `(n_pairs,)`; weights below 0 do not
    count.
    """
    summaries = tuple(np.zeros(len(pairs.rows), dtype=np.float32) for _ in range(5))
    ends = np.cumsum(pairs.counts)
    n_entries = int(np.diff(matrix.indptr)[pairs.columns].sum())
    # A user costs as many entries as the candidates have, and twice the catalog.
    users_in_part = max(1, MAX_ENTRIES // (n_entries // max(len(ends), 1) + 2 * matrix.shape[1]))
    for first in range(0, len(pairs.counts), users_in_part):
        last = min(first + users_in_part, len(pairs.counts))
        part = slice(ends[first] - pairs.counts[first], ends[last - 1])
        watched, deviations = _spread(pairs, first, last)
        rows = matrix[pairs.columns[part]]
        places = rows.indices
        if last - first > 1:
            users = np.repeat(pairs.rows[part] - first, np.diff(rows.indptr))
            places = users * pairs.history.shape[1] + rows.indices
        possible = np.maximum(rows.data, 0.0)
        weights = possible * watched[places]
        summaries[0][part] = max_rows(weights, rows.indptr)
        summaries[1][part] = sum_rows((weights > 0).astype(np.float32), rows.indptr)
        summaries[2][part] = sum_rows(weights, rows.indptr)
        summaries[3][part] = sum_rows(weights * deviations[places], rows.indptr)
        summaries[4][part] = sum_rows(possible, rows.indptr)
    return summaries[0], summaries[1], summaries[2], summaries[3], summaries[4]


def _spread(pairs: Pairs, first: int, last: int) -> tuple[Floats, Floats]:
    """Lay the histories of some users out, one after the other, `(n_users * n_items,)`: ones, and deviations."""
    n_items = pairs.history.shape[1]
    watched = np.zeros((last - first) * n_items, dtype=np.float32)
    deviations = np.zeros_like(watched)
    part = slice(pairs.history.indptr[first], pairs.history.indptr[last])
    places = np.repeat(np.arange(last - first), pairs.lengths[first:last]) * n_items + pairs.history.indices[part]
    watched[places] = 1.0
    deviations[places] = pairs.deviations.data[part]
    return watched, deviations


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
