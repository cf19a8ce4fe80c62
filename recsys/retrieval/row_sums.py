"""Sums of weighted rows of a sparse matrix, compiled when first used: what linear models score histories with."""

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.types import Floats, RatingMatrix

Integers = npt.NDArray[np.integer]


# Adds up in the order in which a sparse product does, so that both give the same bits.
@njit(nogil=True, boundscheck=False)
def _add_rows(
    ends: Integers,
    rows: Integers,
    factors: Floats,
    indptr: Integers,
    indices: Integers,
    values: Floats,
    sums: Floats,
) -> None:
    for user in range(len(ends) - 1):
        for place in range(ends[user], ends[user + 1]):
            factor = factors[place]
            for entry in range(indptr[rows[place]], indptr[rows[place] + 1]):
                sums[user, indices[entry]] += factor * values[entry]


def multiply(histories: RatingMatrix, matrix: RatingMatrix) -> Floats:
    """Return the product of two CSR matrices of float32, dense, `(n_users, n_columns)`."""
    sums = np.zeros((histories.shape[0], matrix.shape[1]), dtype=np.float32)
    entries = histories.indptr, histories.indices, histories.data
    _add_rows(*entries, matrix.indptr, matrix.indices, matrix.data, sums)
    return sums
