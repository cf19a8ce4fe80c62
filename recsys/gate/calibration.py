"""Measure how often the gate errs: simulated comparisons whose truth is known.

A trial draws test users with replacement from per-user results of several models and makes the truth by construction:

- **equal**: for every drawn user the results of the models change places at random. No model is better in the
  population, while the differences keep their real size, spread and many zeros.
- **lift**: as equal, and then one of two models fails a drawn share of the lists (their NDCG@10 becomes 0; a user
  with five lists loses a fifth with each). If the challenger fails a share q, its true mean is (1 - q) times the
  champion's, a lift of exactly -q; if the champion fails a share q = g / (1 + g), the true lift is +g.
- **chain**: challengers come one after another, each worse than the champion of its time by the same share, and are
  compared with the champion and the anchor on users drawn anew. A list that the champion fails is failed by every
  challenger built on it.

The gate decides each trial as it would decide a retraining. Beside it stands the test of the original My Otaku Friend,
which drew 100 bootstrap samples per model, independently, and compared the two lists of 100 statistics with Student's
t-test as if they were 100 users: significantly better or not significant meant promote.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from recsys.gate.anchor import starts_chain
from recsys.gate.decision import Outcome
from recsys.gate.gate import PromotionGate
from recsys.gate.intervals import Interval
from recsys.gate.metrics import PerUser
from recsys.gate.scorecard import Scorecard

N_BOOTSTRAP = 100

Rule = Callable[[PerUser, PerUser, np.random.Generator], tuple[bool, bool]]


@dataclass(frozen=True)
class Rates:
    """How often a rule called two models different, and how often it promoted the challenger.

    Parameters
    ----------
    different, promoted
        Shares of the trials with their 95 % binomial intervals (Wilson).
    """

    n_users: int
    lift: float
    different: Interval
    promoted: Interval


def draw_trial(
    pairs: npt.NDArray[np.float64], lift: float, n_users: int, rng: np.random.Generator, *, n_lists: int = 1
) -> tuple[PerUser, PerUser]:
    """Draw the results of challenger and champion for `n_users` users.

    Parameters
    ----------
    pairs
        Results of two models or more for the same users, not NaN, `(n_users, n_models)`.
    lift
        True relative difference of the means, above -1.
    n_lists
        How many lists of each user a result is the mean of.
    """
    drawn = draw_equals(pairs, n_users, rng)
    loser, share = (0, -lift) if lift < 0 else (1, lift / (1 + lift))
    drawn[:, loser] *= 1 - rng.binomial(n_lists, share, n_users) / n_lists
    return drawn[:, 0], drawn[:, 1]


def draw_equals(results: npt.NDArray[np.float64], n_users: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw users with replacement and let the models change places for each, `(n_users, n_models)`."""
    drawn: npt.NDArray[np.float64] = rng.permuted(results[rng.integers(len(results), size=n_users)], axis=1)
    return drawn


def draw_heavy_tailed(n_users: int, rng: np.random.Generator, n_models: int = 3) -> npt.NDArray[np.float64]:
    """Make up results of models with a common taste per user: most are 0, a few near 1, `(n_users, n_models)`."""
    ease = rng.beta(0.3, 1.2, n_users)
    found = rng.random((n_users, n_models)) < 0.15 + 0.6 * ease[:, np.newaxis]
    values = ease[:, np.newaxis] * rng.lognormal(-0.3, 0.7, (n_users, n_models))
    return np.where(found, np.clip(values, 0, 1), 0.0)


def run_chain(
    gate: PromotionGate,
    results: npt.NDArray[np.float64],
    *,
    step: float,
    n_steps: int,
    n_users: int,
    rng: np.random.Generator,
    n_lists: int = 1,
    anchored: bool = True,
) -> float:
    """Let challengers come one after another; return the true lift of the last champion over the first.

    Parameters
    ----------
    results
        Of at least three models for the same users, `(n_users, n_models)`.
    step
        True lift of each challenger over the champion of its time, -1 < step <= 0.
    n_lists
        How many lists of each user a result is the mean of.
    anchored
        Whether the gate sees the anchor.
    """
    champion = anchor = 0.0  # shares of lists that they fail; the first champion is its own anchor
    moved = False
    for _ in range(n_steps):
        challenger = 1 - (1 - champion) * (1 + step)
        drawn, luck = draw_equals(results, n_users, rng), rng.random((n_users, n_lists))
        cards = [
            Scorecard(np.arange(n_users), drawn[:, place] * (luck >= share).mean(axis=1))
            for place, share in enumerate((challenger, champion, anchor))
        ]
        decision = gate.decide(cards[0], cards[1], anchor=cards[2] if anchored and moved else None)
        if decision.promotes:
            champion, moved = challenger, True
            if starts_chain(decision):
                anchor, moved = challenger, False
    return -champion


def apply_gate(gate: PromotionGate) -> Rule:
    """Turn the gate into a rule."""

    def rule(challenger: PerUser, champion: PerUser, _rng: np.random.Generator) -> tuple[bool, bool]:
        ids = np.arange(challenger.size)
        decision = gate.decide(Scorecard(ids, challenger), Scorecard(ids, champion))
        return decision.outcome in {Outcome.Better, Outcome.Worse}, decision.promotes

    return rule


def apply_bootstrap_test(
    statistic: Callable[..., npt.NDArray[np.float64]] = np.mean, *, alpha: float = 0.05, higher_is_better: bool = True
) -> Rule:
    """Turn the original's test over bootstrap replicates into a rule.

    Parameters
    ----------
    statistic
        A function with `axis`; the original took the median of absolute rating errors.
    """

    def rule(challenger: PerUser, champion: PerUser, rng: np.random.Generator) -> tuple[bool, bool]:
        ours, theirs = (
            statistic(values[rng.integers(values.size, size=(N_BOOTSTRAP, values.size))], axis=1)
            for values in (challenger, champion)
        )
        spread = float(np.ptp(ours) + np.ptp(theirs))
        different = spread > 0 and bool(stats.ttest_ind(ours, theirs).pvalue < alpha)
        better = bool(ours.mean() > theirs.mean()) == higher_is_better
        return different, not different or better

    return rule


def measure_rates(
    rule: Rule,
    pairs: npt.NDArray[np.float64],
    *,
    lift: float,
    n_users: int,
    n_trials: int,
    rng: np.random.Generator,
    n_lists: int = 1,
) -> Rates:
    """Let a rule decide many trials of the same truth."""
    verdicts = np.array([rule(*draw_trial(pairs, lift, n_users, rng, n_lists=n_lists), rng) for _ in range(n_trials)])
    different, promoted = (binomial_interval(int(count), n_trials) for count in verdicts.sum(axis=0))
    return Rates(n_users, lift, different, promoted)


def binomial_interval(n_hits: int, n_trials: int, *, level: float = 0.95) -> Interval:
    """Compute a share with Wilson's interval.

    Examples
    --------
    >>> found = binomial_interval(50, 1000)
    >>> round(found.low, 3), found.mean, round(found.high, 3)
    (0.038, 0.05, 0.065)
    """
    found = stats.binomtest(n_hits, n_trials).proportion_ci(level, method="wilson")
    return Interval(n_hits / n_trials, float(found.low), float(found.high), level, n_trials)
