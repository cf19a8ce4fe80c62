"""Users of the sample world: what they like, how much they watch, how they rate.

A user picks titles without replacement with probability proportional to exp(appeal + taste · title), drawn by the
Gumbel top-k trick (Kool, van Hoof & Welling, 2019, "Stochastic beams and where to find them"). Part of the
Gumbel noise is shared by the titles of a franchise, which makes users watch a franchise together.

All sums run over whole numbers (factors are rounded to 1/64), which float32 holds exactly: the same seed gives the same
picks whatever the number of threads and the order in which a matrix product adds up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.data.sample_world.stories import Stories
from recsys.data.sample_world.works import Works
from recsys.types import Floats, Positions

GRID = 64
UNIT = GRID * GRID
THEME_SPREAD, MOTIF_SPREAD, HIDDEN_SPREAD, RECENCY_SPREAD = 1.3, 0.4, 0.6, 0.5
FRANCHISE_NOISE, TITLE_NOISE = 0.4, 0.22
ACTIVE_YEARS = np.arange(2011, 2021)
CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Picks:
    """Ratings of consecutive users.

    Parameters
    ----------
    user, position
        Who (counted from 0) and which row of `Works`, sorted by both.
    rating
        1..10, int8.
    """

    user: Positions
    position: Positions
    rating: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Tastes:
    """Everything that titles and users share, rounded to the grid.

    Parameters
    ----------
    factors
        Titles, `(n_items, n_factors)`, whole numbers.
    spreads
        Standard deviation of users in each factor.
    appeal
        Whole numbers in units of `1 / UNIT`.
    level
        Mark that a user of average taste gives an average title.
    """

    factors: Floats
    spreads: npt.NDArray[np.float64]
    appeal: Floats
    works: Works
    level: float = 7.7


def build_tastes(stories: Stories, works: Works) -> Tastes:
    """Put themes, motifs, hidden traits and age of the titles side by side."""
    age = np.clip((works.year - 2008) / 8, -4, 2)[:, None]
    blocks: list[npt.NDArray[Any]] = [
        stories.themes[works.story],
        stories.motifs[works.story],
        stories.hidden[works.story],
        age,
    ]
    spreads = [THEME_SPREAD, MOTIF_SPREAD, HIDDEN_SPREAD, RECENCY_SPREAD]
    factors = np.clip(np.rint(np.hstack(blocks) * GRID), -4 * GRID, 4 * GRID)
    return Tastes(
        factors=factors.astype(np.float32),
        spreads=np.repeat(np.array(spreads), [block.shape[1] for block in blocks]),
        appeal=np.rint(works.appeal * UNIT).astype(np.float32),
        works=works,
    )


def draw_history_lengths(rng: np.random.Generator, n_users: int, n_ratings: int, longest: int) -> npt.NDArray[np.int64]:
    """Draw how many titles each user rates: at least 1, at most `longest`, together exactly `n_ratings`.

    A Weibull law of shape 0.75 with a few very busy accounts meets the quantiles of the real samples (5 at 10 %, 64 at
    50 %, 154 at 75 %, 274 at 90 % of a mean of 114).
    """
    quantiles = (np.arange(n_users) + 0.5) / n_users
    weights = (-np.log1p(-quantiles)) ** (1 / 0.75)
    weights[-max(1, n_users // 500) :] *= 3
    low, high = 0.0, float(n_ratings)
    for _ in range(80):
        scale = (low + high) / 2
        too_many = np.clip(weights * scale, 1, longest).sum() > n_ratings
        low, high = (low, scale) if too_many else (scale, high)
    exact = np.clip(weights * low, 1, longest)
    lengths = np.floor(exact).astype(np.int64)
    room = np.flatnonzero(lengths < longest)
    lacking = int(n_ratings - lengths.sum())
    # What rounding cut off goes one by one to the largest remainders; more than one round only in extreme sizes.
    while lacking > 0:
        chosen = room[np.argsort(lengths[room] - exact[room], kind="stable")[:lacking]]
        lengths[chosen] += 1
        lacking -= len(chosen)
        room = np.flatnonzero(lengths < longest)
    return rng.permutation(lengths)


def draw_picks(rng: np.random.Generator, tastes: Tastes, lengths: npt.NDArray[np.int64]) -> Iterator[Picks]:
    """Let users watch and rate, some hundreds at a time so that memory stays bounded."""
    noise = _gumbel_table()
    step = max(1, CHUNK_CELLS // len(tastes.works))
    for start in range(0, len(lengths), step):
        yield _draw_chunk(rng, tastes, lengths[start : start + step], start, noise)


def _gumbel_table() -> Floats:
    """Tabulate 65,536 Gumbel quantiles on the grid; a table is faster than two logarithms per cell."""
    quantiles = (np.arange(65_536) + 0.5) / 65_536
    return np.asarray(np.rint(-np.log(-np.log(quantiles)) * UNIT), dtype=np.float32)


def _draw_chunk(
    rng: np.random.Generator, tastes: Tastes, lengths: npt.NDArray[np.int64], start: int, noise: Floats
) -> Picks:
    works = tastes.works
    n, n_items = len(lengths), len(works)
    likings = np.clip(rng.normal(0, 1, (n, len(tastes.spreads))) * tastes.spreads, -4, 4)
    users: Floats = np.rint(likings * GRID).astype(np.float32)
    affinity: Floats = np.matmul(users, tastes.factors.T, dtype=np.float32)
    utility: Floats = np.add(affinity, tastes.appeal, dtype=np.float32)
    active_until = rng.choice(ACTIVE_YEARS, n)
    # No user has seen what came after they left the site.
    utility -= np.float32(20 * UNIT) * (works.year[None, :] > active_until[:, None])
    shared = np.rint(noise * np.float32(FRANCHISE_NOISE))
    own = np.rint(noise * np.float32(TITLE_NOISE))
    n_stories = int(works.story.max()) + 1
    utility += shared[rng.integers(0, 65_536, (n, n_stories), dtype=np.uint16)][:, works.story]
    utility += own[rng.integers(0, 65_536, (n, n_items), dtype=np.uint16)]
    user, position = np.nonzero(_select_largest(utility, lengths))
    liking: Floats = affinity[user, position] / np.float32(UNIT)
    rating = _draw_ratings(rng, tastes.level, works.quality[position], liking, user, lengths)
    return Picks(user + start, position, rating)


def _select_largest(utility: Floats, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark the `lengths[u]` largest cells of row u; of equal cells the first ones, so that no sort decides."""
    chosen = np.zeros(utility.shape, dtype=np.bool_)
    for row, length in enumerate(lengths):
        values = utility[row]
        smallest = np.partition(values, len(values) - length)[len(values) - length]
        chosen[row] = values > smallest
        ties = np.flatnonzero(values == smallest)
        chosen[row, ties[: length - int(chosen[row].sum())]] = True
    return chosen


def _draw_ratings(
    rng: np.random.Generator,
    level: float,
    quality: Floats,
    liking: Floats,
    user: Positions,
    lengths: npt.NDArray[np.int64],
) -> npt.NDArray[np.int8]:
    """Turn quality and liking into the marks of generous, strict, careful and careless users."""
    n = len(lengths)
    # Users with long lists rate lower: correlation of log length and mean rating is -0.43 on the site.
    personal = level - 0.14 * (np.log(lengths / lengths.mean()) + 0.9) + rng.normal(0, 0.8, n)
    spread = np.clip(rng.normal(1.12, 0.42, n), 0.3, 2.6)
    spread[rng.random(n) < 0.01] = 0.0  # some accounts know one mark only
    # Disappointments go deeper than delights go high.
    mood = 0.8 * rng.normal(0, 1, len(user)) - 0.7 * (rng.standard_exponential(len(user)) - 1)
    opinion = 1.0 * (quality - 0.6) + 0.2 * (liking - 0.8) + mood
    return np.asarray(np.clip(np.rint(personal[user] + spread[user] * opinion), 1, 10), dtype=np.int8)
