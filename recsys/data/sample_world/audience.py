"""What the site counts for each title: members, marks, score and ranks.

The site is far larger than any sample of its users, so its counts come from a panel of users drawn like the users
but none of them: the score of a title tells as much about the users' ratings as it does in the real data, and no more.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys.data.sample_world.tastes import Tastes, draw_history_lengths, draw_picks
from recsys.data.sample_world.works import Works
from recsys.types import Ids, Mask

PANEL_SIZE = 2_000
MEAN_RATING = 7.63
# Members by quantile of the titles, measured on the catalog of 2020.
MEMBER_QUANTILES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
MEMBERS = (1, 56, 108, 150, 336, 2065, 13223, 74483, 169374, 600941, 2589552)
MARKED_SHARE = 0.51
MARK_SHARES = np.array([0.007, 0.007, 0.011, 0.024, 0.054, 0.107, 0.218, 0.251, 0.181, 0.140])
# Shares of the members who watch, pause, dropped and plan; the rest have completed the title.
STATUS_SHARES = np.array([0.064, 0.028, 0.034, 0.237])
FAVORITE_SHARE = 0.005
FEWEST_MARKS = 200


@dataclass(frozen=True)
class Panel:
    """How many of the panel rated each title, and their mean mark (shrunk towards the quality of the title)."""

    counts: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audience:
    """Counts of the site per title.

    Parameters
    ----------
    members, favorites
        Whole numbers.
    statuses
        Watching, on hold, dropped, plan to watch, completed, `(n, 5)`.
    marks
        Numbers of marks 1..10, `(n, 10)`.
    score
        Mean mark, NaN below `FEWEST_MARKS` marks.
    popularity
        Quantile of the members among all titles, 0..1.
    """

    members: Ids
    favorites: Ids
    statuses: Ids
    marks: Ids
    score: npt.NDArray[np.float64]
    popularity: npt.NDArray[np.float64]


def draw_panel(rng: np.random.Generator, tastes: Tastes, mean_length: float) -> Panel:
    """Let the panel watch and rate, with histories as long as those of the users."""
    n_items = len(tastes.works)
    lengths = draw_history_lengths(rng, PANEL_SIZE, round(PANEL_SIZE * mean_length), longest_history(n_items))
    counts, sums = np.zeros(n_items, dtype=np.int64), np.zeros(n_items)
    for picks in draw_picks(rng, tastes, lengths):
        counts += np.bincount(picks.position, minlength=n_items)
        sums += np.bincount(picks.position, weights=picks.rating, minlength=n_items)
    quality = tastes.works.quality.astype(np.float64)
    overall, centre = sums.sum() / counts.sum(), (quality * counts).sum() / counts.sum()
    prior = overall + 0.8 * (quality - centre)
    return Panel(counts, (sums + 10 * prior) / (counts + 10))


def centre_tastes(rng: np.random.Generator, tastes: Tastes, mean_length: float) -> Tastes:
    """Shift the level of all marks until a small panel rates `MEAN_RATING` on average."""
    n_users = PANEL_SIZE // 4
    lengths = draw_history_lengths(rng, n_users, round(n_users * mean_length), longest_history(len(tastes.works)))
    state = rng.integers(2**63)
    for _ in range(3):  # marks end at 10, so one shift falls a little short
        ratings = np.concatenate([p.rating for p in draw_picks(np.random.default_rng(state), tastes, lengths)])
        tastes = replace(tastes, level=round(tastes.level + MEAN_RATING - float(ratings.mean()), 2))
    return tastes


def longest_history(n_items: int) -> int:
    """Bound a history: no user has seen more than four fifths of everything."""
    return max(1, n_items * 4 // 5)


def select_listed(panel: Panel, n_items: int, share: float) -> Mask:
    """Choose which `n_items` titles the catalog lists so that the others draw about `share` of the ratings.

    The unlisted ones are every third title of a stretch of the popularity order.
    """
    order = np.argsort(panel.counts, kind="stable")[::3]
    n_unlisted = len(panel.counts) - n_items
    totals = np.convolve(panel.counts[order], np.ones(n_unlisted), mode="valid")
    start = int(np.argmin(np.abs(totals - share * panel.counts.sum())))
    listed = np.ones(len(panel.counts), dtype=np.bool_)
    listed[order[start : start + n_unlisted]] = False
    return listed


def build_audience(rng: np.random.Generator, works: Works, panel: Panel) -> Audience:
    """Scale the panel up to the size of the site."""
    n = len(works)
    reach = np.log(panel.counts + 0.5) + 0.1 * works.appeal + rng.normal(0, 0.1, n)
    rank = np.empty(n)
    rank[np.argsort(reach, kind="stable")] = np.arange(n)
    popularity = (rank + 0.5) / n
    members = np.rint(np.exp(np.interp(popularity, MEMBER_QUANTILES, np.log(MEMBERS)))).astype(np.int64)
    marks = rng.poisson((members * MARKED_SHARE)[:, None] * _tilt_to_means(panel.means))
    total = marks.sum(axis=1)
    score = (marks @ np.arange(1, 11)) / np.maximum(total, 1)
    others = np.floor(members[:, None] * STATUS_SHARES * rng.uniform(0.6, 1.4, (n, 4))).astype(np.int64)
    favorites = rng.poisson(members * FAVORITE_SHARE * np.exp(1.2 * (panel.means - MEAN_RATING)))
    return Audience(
        members=members,
        favorites=favorites,
        statuses=np.column_stack([others, members - others.sum(axis=1)]),
        marks=marks,
        score=np.where(total >= FEWEST_MARKS, score, np.nan),
        popularity=popularity,
    )


def _tilt_to_means(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Tilt the overall shares of the marks exponentially until each row has its mean, `(n, 10)`."""
    values = np.arange(1, 11)
    low, high = np.full(len(means), -5.0), np.full(len(means), 5.0)
    for _ in range(40):
        tilt = (low + high) / 2
        weights = MARK_SHARES * np.exp(tilt[:, None] * (values - 5.5))
        weights /= weights.sum(axis=1, keepdims=True)
        above = weights @ values > means
        low, high = np.where(above, low, tilt), np.where(above, tilt, high)
    return np.asarray(weights)
