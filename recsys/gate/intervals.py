"""Say how sure a mean over users is: bootstrap intervals for one model, paired t intervals for two."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.exceptions import DataContractError, SchemaMismatchError
from recsys.gate.metrics import PerUser

# Resampled indices held in memory at once: 16 MB of int64.
_CELLS_AT_ONCE = 2_000_000
# Differences that spread less than this (or than this share of their size) are one constant but for rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; `n` users went into it."""

    mean: float
    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True)
class PairedDifference(Interval):
    """The mean of per-user differences, challenger minus champion, and the paired t-test of "no difference".

    Parameters
    ----------
    t
        The test statistic; None where all differences are the same and it is undefined.
    p_value
        Two-sided, in 0..1; 1 where all differences are zero, 0 where all are the same but not zero.
    challenger_mean, champion_mean
        Means over the same `n` users.
    """

    t: float | None
    p_value: float
    challenger_mean: float
    champion_mean: float


def bootstrap_interval(
    values: npt.ArrayLike, *, rng: np.random.Generator, level: float = 0.95, n_resamples: int = 2_000
) -> Interval:
    """Compute the mean over users with its percentile bootstrap interval; NaN users are left out.

    Users, not ratings, are resampled (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

    Raises
    ------
    DataContractError
        If no user has a value, or the level lies outside 0..1.
    """
    evaluated = np.asarray(values, dtype=np.float64)
    evaluated = evaluated[~np.isnan(evaluated)]
    if evaluated.size == 0:
        raise DataContractError("no user has a value; an interval needs at least one")
    if not 0.0 < level < 1.0:
        raise DataContractError(f"level is {level}; it must lie between 0 and 1")
    at_once = max(1, _CELLS_AT_ONCE // evaluated.size)
    means = [
        evaluated[rng.integers(evaluated.size, size=(min(at_once, n_resamples - done), evaluated.size))].mean(axis=1)
        for done in range(0, n_resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(evaluated.mean()), float(low), float(high), level, evaluated.size)


def paired_difference(challenger: PerUser, champion: PerUser, *, level: float = 0.95) -> PairedDifference:
    """Compare two models user by user with a paired t-test and its interval (`scipy.stats.ttest_rel`).

    Users with NaN on either side are dropped. With thousands of users the paired t-test keeps its error rate on
    ranking metrics, unlike the Wilcoxon and sign tests (Ihemelandu and Ekstrand, "Inference at Scale", SIGIR 2023).

    Parameters
    ----------
    challenger, champion
        One value per user in the same order, `(n_users,)`.

    Raises
    ------
    SchemaMismatchError
        If the two do not have the same length.
    DataContractError
        If fewer than two users have a value on both sides.

    Examples
    --------
    >>> result = paired_difference(np.array([0.4, 0.5, 0.9]), np.array([0.3, 0.5, 0.5]))
    >>> round(result.mean, 3), round(result.low, 2), round(result.high, 2), round(result.p_value, 2)
    (0.167, -0.35, 0.68, 0.3)
    """
    if challenger.shape != champion.shape or challenger.ndim != 1:
        raise SchemaMismatchError(f"{challenger.shape} and {champion.shape} values cannot be paired")
    both = ~(np.isnan(challenger) | np.isnan(champion))
    ours, theirs = challenger[both], champion[both]
    if ours.size < 2:
        raise DataContractError(f"{ours.size} users have a value from both models; a paired test needs two")
    differences = ours - theirs
    mean = float(differences.mean())
    low, high, t, p_value = mean, mean, None, float(abs(mean) <= _ROUNDING)
    if np.ptp(differences) > _ROUNDING * max(1.0, np.abs(differences).max()):
        # The service only reads decisions that were made: its image has no scipy.stats.
        from scipy import stats

        test = stats.ttest_rel(ours, theirs)
        interval = test.confidence_interval(level)
        low, high, t, p_value = float(interval.low), float(interval.high), float(test.statistic), float(test.pvalue)
    return PairedDifference(mean, low, high, level, ours.size, t, p_value, float(ours.mean()), float(theirs.mean()))
