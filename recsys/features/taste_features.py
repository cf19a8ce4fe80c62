"""Taste features: genre match, and distance of a candidate to what the user usually watches."""

import numpy as np

from recsys.features.item_side import HABITS
from recsys.features.pairs import FeatureColumns, Pairs


def compute_genre_match(pairs: Pairs) -> FeatureColumns:
    """Match candidates with a user's genres: those stated, or the shares of the history."""
    genres = pairs.items.catalog.genre_matrix
    shares = np.asarray(pairs.watched @ genres) / np.maximum(pairs.lengths, 1)[:, None]
    profile = np.where(pairs.lengths[:, None] > 0, shares, pairs.tastes)
    norms = np.maximum(np.linalg.norm(profile, axis=1), 1e-9)
    matches = np.einsum("ij,ij->i", profile[pairs.rows], genres[pairs.columns])
    return {"genre_match": matches / norms[pairs.rows] / pairs.items.genre_norms[pairs.columns]}


def compute_habit_gaps(pairs: Pairs) -> FeatureColumns:
    """Tell how far a candidate lies from the mean of the history in popularity, year, length and score.

    And by how many years it started after the newest title of the history: users whose lists end in a year watch
    little that came later.
    """
    numbers, known = pairs.items.known_habit_numbers
    with np.errstate(invalid="ignore"):
        means = (pairs.watched @ numbers) / (pairs.watched @ known)
    gaps = pairs.items.habit_numbers[pairs.columns] - means[pairs.rows]
    newest = np.full(len(pairs.lengths), np.nan, dtype=np.float32)
    filled = np.flatnonzero(pairs.lengths)
    if len(filled):
        newest[filled] = np.fmax.reduceat(pairs.items.starts[pairs.history.indices], pairs.history.indptr[filled])
    features: FeatureColumns = {f"{name}_gap": gaps[:, place] for place, name in enumerate(HABITS)}
    return features | {"item_start_after_newest": pairs.items.starts[pairs.columns] - newest[pairs.rows]}
