"""How a person's taste in genres, studios, sources, decades and types meets a candidate."""

import numpy as np
import numpy.typing as npt

from recsys.features.item_side import HABITS
from recsys.features.pairs import FeatureColumns, Pairs

# Prior strength of an affinity: how many ratings it takes until a user's own mean counts for half.
SHRINKAGE = 5.0


def compute_affinities(pairs: Pairs) -> FeatureColumns:
    """Tell how much of the history shares a value with the candidate, and how far above their mean people rate it.

    The mean over the candidate's genres, its studios and so on, kind by kind.
    """
    table = pairs.items.affiliation_table
    counts = np.asarray((pairs.watched @ table).todense())
    sums = np.asarray((pairs.deviations @ table).todense())
    kinds = list(pairs.items.affiliations)
    carried = table[pairs.columns]
    owners = np.repeat(np.arange(len(pairs.columns)), np.diff(carried.indptr))
    cells = owners * len(kinds) + pairs.items.affiliation_kinds[carried.indices]
    n_values = pairs.items.affiliation_counts[pairs.columns]

    def average(numbers: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Average a user's numbers over the values that each candidate carries, `(n_pairs, n_kinds)`."""
        values = numbers[pairs.rows[owners], carried.indices]
        return np.bincount(cells, values, minlength=n_values.size).reshape(n_values.shape) / n_values

    shares = average(counts / np.maximum(pairs.lengths, 1)[:, None])
    affinities = average(sums / (counts + SHRINKAGE))
    features: FeatureColumns = {}
    for place, kind in enumerate(kinds):
        features |= {f"{kind}_share": shares[:, place], f"{kind}_affinity": affinities[:, place]}
    return features


def compute_genre_match(pairs: Pairs) -> FeatureColumns:
    """Match candidates with a person's genres: those stated, or the shares of the history."""
    genres = pairs.items.catalog.genre_matrix
    shares = np.asarray(pairs.watched @ genres) / np.maximum(pairs.lengths, 1)[:, None]
    profile = np.where(pairs.lengths[:, None] > 0, shares, pairs.tastes)
    norms = np.maximum(np.linalg.norm(profile, axis=1), 1e-9)
    matches = np.einsum("ij,ij->i", profile[pairs.rows], genres[pairs.columns])
    return {"genre_match": matches / norms[pairs.rows] / pairs.items.genre_norms[pairs.columns]}


def compute_habit_gaps(pairs: Pairs) -> FeatureColumns:
    """Tell how far a candidate lies from the mean of the history in popularity, year, length and score.

    And by how many years it started after the newest title of the history: people whose lists end in a year watch
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
