"""What titles say about one another: the weights of an item-item model, read from both sides."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from recsys.types import Floats, RatingMatrix


@dataclass(frozen=True)
class Support:
    """Weights between titles.

    Parameters
    ----------
    weights
        CSR `(n_items, n_items)`: row i holds the weights of title i for the titles that it supports.
    supporters
        Its transpose: row j holds the weights of the titles that support title j.
    possible
        Sum of the weights above 0 of all titles that support a title, `(n_items,)`.
    """

    weights: RatingMatrix
    supporters: RatingMatrix
    possible: Floats

    @classmethod
    def of(cls, weights: RatingMatrix) -> Self:
        """Read the weights of titles for those that they support."""
        positive = np.maximum(weights.data, 0).astype(np.float64)
        possible = np.bincount(weights.indices, positive, weights.shape[1])
        return cls(weights, weights.T.tocsr(), possible.astype(np.float32))
