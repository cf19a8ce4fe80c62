"""How a person's taste in genres, studios, sources, decades and types meets a candidate."""

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.features.pairs import FeatureColumns, Pairs
from recsys.types import Floats, RatingMatrix

# Prior strength of an affinity: how many ratings it takes until a user's own mean counts for half.
SHRINKAGE = 5.0


def compute_affinities(pairs: Pairs) -> FeatureColumns:
    """Tell how much of the history shares a value with the candidate, and how far above their mean people rate it."""
    features: FeatureColumns = {}
    for kind, memberships in pairs.items.affiliations.items():
        counts = np.asarray((pairs.watched @ memberships).todense())
        sums = np.asarray((pairs.deviations @ memberships).todense())
        n_values = np.maximum(np.diff(memberships.indptr), 1)[pairs.columns]
        shares = counts / np.maximum(pairs.lengths, 1)[:, None]
        features[f"{kind}_share"] = _sum_over_values(shares, memberships, pairs) / n_values
        features[f"{kind}_affinity"] = _sum_over_values(sums / (counts + SHRINKAGE), memberships, pairs) / n_values
    return features


def _sum_over_values(table: npt.NDArray[np.floating], memberships: RatingMatrix, pairs: Pairs) -> Floats:
    """Sum a user's numbers over the values that each candidate carries."""
    sums = np.empty(len(pairs.rows), dtype=np.float32)
    start = 0
    for row, positions in enumerate(pairs.candidates):
        sums[start : start + len(positions)] = memberships[positions] @ table[row]
        start += len(positions)
    return sums


def compute_genre_match(pairs: Pairs) -> FeatureColumns:
    """Match candidates with a person's genres: those stated, or the shares of the history."""
    genres = pairs.items.catalog.genre_matrix
    shares = np.asarray(pairs.watched @ genres) / np.maximum(pairs.lengths, 1)[:, None]
    profile = np.where(pairs.lengths[:, None] > 0, shares, pairs.tastes)
    norms = np.maximum(np.linalg.norm(profile, axis=1), 1e-9)
    sizes = np.sqrt(np.maximum(genres.sum(axis=1), 1))
    matches = np.einsum("ij,ij->i", profile[pairs.rows], genres[pairs.columns])
    return {"genre_match": matches / norms[pairs.rows] / sizes[pairs.columns]}


# Numbers of a title in which people have habits: famous or obscure, old or new, long or short, acclaimed or not.
HABITS: Final = ("item_log_members", "item_year", "item_log_episodes", "item_duration_minutes", "item_mean_score")


def compute_habit_gaps(pairs: Pairs) -> FeatureColumns:
    """Tell how far a candidate lies from the mean of the history in popularity, year, length and score."""
    numbers = pairs.items.statistics[list(HABITS)].to_numpy()
    known = ~np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        means = (pairs.watched @ np.where(known, numbers, 0.0)) / (pairs.watched @ known.astype(np.float32))
    gaps = numbers[pairs.columns] - means[pairs.rows]
    return {f"{name}_gap": gaps[:, place] for place, name in enumerate(HABITS)}
