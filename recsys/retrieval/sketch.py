"""Which titles can be among the nearest to one, told from a quarter of the bytes.

Comparing one vector with all others takes as long as reading them. Each is therefore kept once more in whole numbers of
one byte (scalar quantisation, as `IndexScalarQuantizer` of Faiss does); by how much that can be wrong is known of every
title, so that what is left to compare exactly holds the nearest for sure.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.types import Floats, Mask, Positions

LARGEST = 127
# Of a product of unit vectors in float32, whatever the order of its sum.
ROUNDING = 1e-4


# What it finds goes into an argument: to return an array Numba reads a pickle.
@njit("void(i1[:,::1], i2[::1], i4[::1])", nogil=True, boundscheck=False)
def _multiply(codes: npt.NDArray[np.int8], query: npt.NDArray[np.int16], products: npt.NDArray[np.int32]) -> None:
    for row in range(len(codes)):
        product = np.int32(0)
        for column in range(len(query)):
            product += np.int32(codes[row, column]) * np.int32(query[column])
        products[row] = product


@dataclass(frozen=True)
class Sketch:
    """Vectors of at most unit length in whole numbers.

    Parameters
    ----------
    codes
        `(n_items, n_dimensions)`, -127..127.
    scales
        What one stands for in each row, `(n_items,)`.
    sizes
        Sum of the absolute values of each row, `(n_items,)`.
    """

    codes: npt.NDArray[np.int8]
    scales: Floats
    sizes: Floats

    @classmethod
    def of(cls, vectors: Floats) -> "Sketch":
        """Round vectors `(n_items, n_dimensions)`."""
        scales = np.maximum(np.abs(vectors).max(axis=1, initial=0.0), 1e-9) / LARGEST
        codes = np.rint(vectors / scales[:, None]).astype(np.int8)
        sizes = np.abs(codes).sum(axis=1, dtype=np.int64) * scales
        return cls(codes, scales.astype(np.float32), sizes.astype(np.float32))

    def narrow(self, query: Floats, allowed: Mask, k: int) -> Positions:
        """Return ascending positions that hold the k allowed titles of the largest inner product with a vector.

        Parameters
        ----------
        query
            `(n_dimensions,)`, of at most unit length.
        allowed
            `(n_items,)`.
        """
        positions = np.flatnonzero(allowed)
        if len(positions) <= k or k < 1:
            return positions[: max(k, 0)]
        products, errors = (part[positions] for part in self.estimate(query))
        surely = np.partition(products - errors, len(positions) - k)[len(positions) - k]
        return np.asarray(positions[products + errors >= surely], dtype=np.intp)

    def estimate(self, query: Floats) -> tuple[Floats, Floats]:
        """Return inner products with a vector, and by how much each can be wrong at most, `(n_items,)` both."""
        finest = min(np.iinfo(np.int16).max, np.iinfo(np.int32).max // (LARGEST * len(query)))
        scale = max(float(np.abs(query).max()), 1e-9) / finest
        products = np.empty(len(self.codes), dtype=np.int32)
        _multiply(self.codes, np.rint(query / scale).astype(np.int16), products)
        # Each rounding is wrong by half a unit at most.
        errors = self.scales * np.float32(np.abs(query).sum() / 2) + self.sizes * np.float32(scale / 2)
        return products * (self.scales * np.float32(scale)), errors + np.float32(ROUNDING)
