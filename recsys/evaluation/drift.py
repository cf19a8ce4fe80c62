"""How far the users of the last days are from those a model was trained on, and when that is too far.

A population stability index (PSI) says how much a distribution has moved, whatever the number of users; the usual
reading is below 0.1 stable, 0.1 to 0.25 shifting, above that a different population (Siddiqi, *Credit Risk
Scorecards*, 2006). With few users it is far from zero by chance alone, so that a limit counts only beyond what chance
reaches once in a thousand: the PSI of two samples of one population is about chi-square with B - 1 degrees of freedom,
scaled by 1/n + 1/m (Yurdakul and Naranjo, *Statistical properties of the population stability index*, 2020).
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.preferences import MEAN_RATING, N_RATINGS, compute_preferences
from recsys.evaluation.drift_limits import DriftLimits

Counts = npt.NDArray[np.float64]

N_BINS: Final = 10
CHANCE: Final = 0.001
N_RATINGS_FEATURE, MEAN_RATING_FEATURE = "ratings per user", "mean rating"
RATING_FEATURE, GENRE_FEATURE = "ratings given", "genre mix"


class Level(StrEnum):
    """How far a distribution has moved."""

    Stable = "stable"
    Shifting = "shifting"
    Drifted = "drifted"
    TooFew = "too few users"


@dataclass(frozen=True)
class ReferenceProfile:
    """What is compared of a population: one value a user, and counts over all of its ratings.

    Parameters
    ----------
    n_ratings, mean_rating
        `(n_users,)`.
    genre_shares
        `(n_users, n_genres)`, shares 0..1 of a user's titles that carry each genre of `genres`.
    rating_counts
        `(10,)`, how often each rating 1..10 was given.
    """

    n_ratings: Counts
    mean_rating: Counts
    genre_shares: Counts
    rating_counts: Counts
    genres: tuple[str, ...]

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.n_ratings)

    @property
    def genre_mix(self) -> Counts:
        """How much of all watching carries each genre, by titles."""
        return np.asarray(self.n_ratings @ self.genre_shares, dtype=np.float64)


@dataclass(frozen=True)
class FeatureDrift:
    """How far one distribution has moved.

    Parameters
    ----------
    psi, psi_by_chance
        Population stability index, and what two samples of one population exceed once in a thousand times (None without
        users).
    ks, p_value
        Two-sample Kolmogorov-Smirnov distance 0..1 and its p-value; of the genre that moved most, the p-value corrected
        for their number (Bonferroni); None for counts of ratings, which are not independent of one another.
    """

    name: str
    psi: float
    psi_by_chance: float | None
    ks: float | None
    p_value: float | None
    level: Level
    sentence: str


@dataclass(frozen=True)
class DriftReport:
    """What was found, and in which sentences it is too much; none of them, and the model still fits."""

    n_reference: int
    n_current: int
    features: tuple[FeatureDrift, ...]
    unknown_share: float
    age_days: int
    breaches: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {**asdict(self), "features": [asdict(found) for found in self.features], "breaches": [*self.breaches]}


def build_profile(interactions: Interactions, catalog: Catalog) -> ReferenceProfile:
    """Reduce ratings of titles in the catalog to what is compared."""
    preferences = compute_preferences(interactions, catalog)
    ratings = interactions.table[Columns.Rating].to_numpy()
    return ReferenceProfile(
        n_ratings=preferences[N_RATINGS].to_numpy(dtype=np.float64),
        mean_rating=preferences[MEAN_RATING].to_numpy(dtype=np.float64),
        genre_shares=preferences[list(catalog.genres)].to_numpy(dtype=np.float64),
        rating_counts=np.bincount(ratings, minlength=11)[1:].astype(np.float64),
        genres=catalog.genres,
    )


def compute_drift(
    reference: ReferenceProfile,
    current: ReferenceProfile,
    *,
    unknown_share: float,
    age_days: int,
    limits: DriftLimits,
) -> DriftReport:
    """Compare the users of the last days with those a model was trained on.

    Parameters
    ----------
    reference, current
        Over the same genres.
    unknown_share, age_days
        As in `DriftLimits`; measured by the caller, who knows the model.
    """
    features = tuple(
        _compare(name, reference, current, limits)
        for name in (N_RATINGS_FEATURE, MEAN_RATING_FEATURE, RATING_FEATURE, GENRE_FEATURE)
    )
    breaches = [found.sentence for found in features if found.level is Level.Drifted]
    if unknown_share > limits.unknown_share:
        breaches.append(
            f"{unknown_share:.1%} of the ratings are about titles the model does not know "
            f"(limit {limits.unknown_share:.1%})"
        )
    if age_days > limits.age_days:
        breaches.append(f"the model has learned from nothing newer than {age_days} days (limit {limits.age_days})")
    return DriftReport(reference.n_users, current.n_users, features, unknown_share, age_days, tuple(breaches))


def compute_psi(reference: Counts, current: Counts) -> float:
    """Compute the population stability index of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts `(n_bins,)`, which may differ in total; half a count is added to each, so that empty bins give a finite
        result.

    Examples
    --------
    >>> compute_psi(np.array([50.0, 50.0]), np.array([500.0, 500.0])) < 1e-4
    True
    >>> round(compute_psi(np.array([5000.0, 5000.0]), np.array([8000.0, 2000.0])), 2)
    0.42
    """
    expected, found = reference + 0.5, current + 0.5
    expected, found = expected / expected.sum(), found / found.sum()
    return float(((found - expected) * np.log(found / expected)).sum())


def compute_psi_by_chance(n_bins: int, n_reference: int, n_current: int) -> float | None:
    """Compute the PSI that two samples of one population exceed once in a thousand times; None without users."""
    if not n_reference or not n_current:
        return None
    return float(stats.chi2.ppf(1 - CHANCE, max(n_bins - 1, 1)) * (1 / n_reference + 1 / n_current))


def count_by_quantiles(reference: Counts, current: Counts) -> tuple[Counts, Counts]:
    """Count both samples in bins that hold about a tenth of the reference each; equal values share a bin."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    n_bins = len(edges) + 1
    counted = (np.bincount(np.searchsorted(edges, values), minlength=n_bins) for values in (reference, current))
    expected, found = (counts.astype(np.float64) for counts in counted)
    kept = (expected + found) > 0
    return expected[kept], found[kept]


def _compare(name: str, reference: ReferenceProfile, current: ReferenceProfile, limits: DriftLimits) -> FeatureDrift:
    expected, found = _count(name, reference, current)
    by_chance = compute_psi_by_chance(len(expected), reference.n_users, current.n_users)
    psi = compute_psi(expected, found) if current.n_users else 0.0
    level = _evaluate_models(psi, by_chance, current.n_users, limits)
    ks, p_value = _compare_users(name, reference, current)
    limit = max(by_chance or 0.0, limits.psi_drifted)
    sentence = f"{name}: the population stability index is {psi:.2f} (limit {limit:.2f})"
    return FeatureDrift(name, psi, by_chance, ks, p_value, level, sentence)


def _count(name: str, reference: ReferenceProfile, current: ReferenceProfile) -> tuple[Counts, Counts]:
    if name == N_RATINGS_FEATURE:
        return count_by_quantiles(reference.n_ratings, current.n_ratings)
    if name == MEAN_RATING_FEATURE:
        return count_by_quantiles(reference.mean_rating, current.mean_rating)
    if name == RATING_FEATURE:
        return reference.rating_counts, current.rating_counts
    return reference.genre_mix, current.genre_mix


def _evaluate_models(psi: float, by_chance: float | None, n_users: int, limits: DriftLimits) -> Level:
    if by_chance is None or n_users < limits.min_users:
        return Level.TooFew
    if psi < max(by_chance, limits.psi_shifting):
        return Level.Stable
    return Level.Drifted if psi >= limits.psi_drifted else Level.Shifting


def _compare_users(
    name: str, reference: ReferenceProfile, current: ReferenceProfile
) -> tuple[float | None, float | None]:
    if name == RATING_FEATURE or not current.n_users or not reference.n_users:
        return None, None
    columns = {N_RATINGS_FEATURE: "n_ratings", MEAN_RATING_FEATURE: "mean_rating"}
    if name in columns:
        found = stats.ks_2samp(getattr(reference, columns[name]), getattr(current, columns[name]), method="asymp")
        return float(found.statistic), float(found.pvalue)
    pairs = zip(reference.genre_shares.T, current.genre_shares.T, strict=True)
    tests = [stats.ks_2samp(ours, theirs, method="asymp") for ours, theirs in pairs]
    if not tests:
        return None, None
    worst = max(tests, key=lambda test: float(test.statistic))
    return float(worst.statistic), min(1.0, float(worst.pvalue) * len(tests))
