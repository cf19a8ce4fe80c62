"""Sums of weighted rows of a sparse matrix, compiled when first used: what a linear model scores one history with."""

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.types import Floats, RatingMatrix

Integers = npt.NDArray[np.integer]


# Adds up in the order in which a sparse product does, so that both give the same bits.
@njit(nogil=True, boundscheck=False)
def _add_rows(
    rows: Integers, factors: Floats, indptr: Integers, indices: Integers, values: Floats, sums: Floats
) -> None:
    for place in range(len(rows)):
        factor = factors[place]
        for entry in range(indptr[rows[place]], indptr[rows[place] + 1]):
            sums[indices[entry]] += factor * values[entry]


def sum_rows(history: RatingMatrix, matrix: RatingMatrix) -> Floats:
    """Return the product of a single row `(1, n_rows)` with a CSR matrix, dense, `(1, n_columns)`."""
    sums = np.zeros(matrix.shape[1], dtype=np.float32)
    _add_rows(history.indices, history.data, matrix.indptr, matrix.indices, matrix.data, sums)
    return sums[None]
