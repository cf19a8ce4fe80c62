"""Compare predicted with observed ratings by tenths of the predictions: an 8 should be an 8 on average."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.exceptions import SchemaMismatchError


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean predicted and mean observed rating of `n` hidden ratings with neighbouring predictions."""

    predicted: float
    observed: float
    n: int


def compute_reliability(
    predicted: npt.ArrayLike, observed: npt.ArrayLike, *, n_bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Cut the ratings into bins of equal size by prediction, ascending; fewer ratings than bins give fewer bins.

    Parameters
    ----------
    predicted, observed
        One value per hidden rating, 1..10, `(n_ratings,)`.

    Raises
    ------
    SchemaMismatchError
        If the two do not have the same length.

    Examples
    --------
    >>> [bin.observed for bin in compute_reliability([8.0, 2.0, 8.5, 2.5], [9, 1, 8, 2], n_bins=2)]
    [1.5, 8.5]
    """
    guesses, truth = np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if guesses.shape != truth.shape:
        raise SchemaMismatchError(f"{guesses.shape} predictions do not fit {truth.shape} ratings")
    order = np.argsort(guesses, kind="stable")
    parts = [part for part in np.array_split(order, n_bins) if part.size]
    return tuple(ReliabilityBin(float(guesses[part].mean()), float(truth[part].mean()), part.size) for part in parts)


def compute_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Average the distance between predicted and observed over all ratings; NaN without any."""
    n_ratings = sum(found.n for found in bins)
    if n_ratings == 0:
        return float("nan")
    return sum(found.n * abs(found.predicted - found.observed) for found in bins) / n_ratings
