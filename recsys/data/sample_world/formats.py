"""Episodes, dates and durations, drawn per kind of title and spelled as MyAnimeList spells them."""

import datetime as dt

import numpy as np
import numpy.typing as npt

from recsys.data.sample_world.works import KINDS
from recsys.types import Positions

UNKNOWN = "Unknown"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SEASONS = ("Winter", "Spring", "Summer", "Fall")
SEASON_STARTS = (1, 4, 4, 4, 7, 10, 10)

Days = npt.NDArray[np.int64]
Texts = npt.NDArray[np.object_]

EPISODES: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "TV": (
        (12, 13, 26, 24, 25, 52, 10, 39, 11, 50, 100),
        (0.36, 0.19, 0.15, 0.07, 0.06, 0.06, 0.03, 0.03, 0.02, 0.02, 0.01),
    ),
    "OVA": ((1, 2, 3, 4, 6), (0.5, 0.27, 0.1, 0.08, 0.05)),
    "Movie": ((1,), (1.0,)),
    "Special": ((1, 2, 3, 6, 12), (0.62, 0.15, 0.1, 0.08, 0.05)),
    "ONA": ((1, 4, 6, 8, 12, 24), (0.4, 0.1, 0.1, 0.08, 0.27, 0.05)),
    "Music": ((1,), (1.0,)),
}
MINUTES: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "TV": ((24, 23, 25, 5, 10, 12), (0.45, 0.25, 0.15, 0.07, 0.05, 0.03)),
    "OVA": ((30, 28, 25, 45, 15, 60), (0.35, 0.2, 0.2, 0.1, 0.1, 0.05)),
    "Movie": ((90, 100, 76, 120, 60, 30, 8, 5), (0.16, 0.13, 0.12, 0.06, 0.1, 0.13, 0.15, 0.15)),
    "Special": ((24, 3, 5, 10, 30, 47), (0.35, 0.2, 0.15, 0.1, 0.1, 0.1)),
    "ONA": ((24, 3, 5, 8, 12, 2), (0.2, 0.22, 0.2, 0.15, 0.1, 0.13)),
    "Music": ((4, 3, 5, 2), (0.45, 0.25, 0.2, 0.1)),
}


def numbers(values: npt.NDArray[np.float64]) -> Texts:
    """Spell numbers with at most two decimals ("28.0", "8.78"), NaN as "Unknown"."""
    return np.array([UNKNOWN if np.isnan(value) else str(round(float(value), 2)) for value in values], dtype=object)


def draw_episodes(rng: np.random.Generator, kind: Positions) -> Days:
    """Draw numbers of episodes that suit the kind."""
    return _draw_by_kind(rng, kind, EPISODES)


def draw_durations(rng: np.random.Generator, kind: Positions, episodes: Days) -> Texts:
    """Draw the length of an episode, as "24 min. per ep." or "1 hr. 55 min."."""
    minutes = _draw_by_kind(rng, kind, MINUTES)
    return np.array([_duration(int(m), int(n)) for m, n in zip(minutes, episodes, strict=True)], dtype=object)


def _duration(minutes: int, episodes: int) -> str:
    hours, rest = divmod(minutes, 60)
    text = " ".join(part for part in (f"{hours} hr." if hours else "", f"{rest} min." if rest else "") if part)
    return f"{text} per ep." if episodes > 1 else text


def draw_dates(rng: np.random.Generator, year: Days, episodes: Days) -> tuple[list[dt.date], list[dt.date]]:
    """Draw first and last day on air; one episode a week."""
    month = rng.choice(SEASON_STARTS, len(year))
    day = rng.integers(1, 29, len(year))
    first = [dt.date(int(y), int(m), int(d)) for y, m, d in zip(year, month, day, strict=True)]
    last = [start + dt.timedelta(weeks=int(n) - 1) for start, n in zip(first, episodes, strict=True)]
    return first, last


def aired(first: list[dt.date], last: list[dt.date], kind: Positions) -> Texts:
    """Spell the time on air: one day, a span, or "to ?" for what still ran early in 2021."""
    music = KINDS.index("Music")
    return np.array(
        [
            _span(start, end, year_only=k == music and start.day < 8)
            for start, end, k in zip(first, last, kind, strict=True)
        ],
        dtype=object,
    )


def _span(start: dt.date, end: dt.date, *, year_only: bool) -> str:
    if year_only:
        return str(start.year)
    if start == end:
        return _day(start)
    return f"{_day(start)} to {'?' if end > dt.date(2021, 2, 28) else _day(end)}"


def _day(day: dt.date) -> str:
    return f"{MONTHS[day.month - 1]} {day.day}, {day.year}"


def premiered(first: list[dt.date], kind: Positions) -> Texts:
    """Name the season of a television series, "Unknown" for everything else."""
    series = KINDS.index("TV")
    return np.array(
        [
            f"{SEASONS[(day.month - 1) // 3]} {day.year}" if k == series else UNKNOWN
            for day, k in zip(first, kind, strict=True)
        ],
        dtype=object,
    )


def _draw_by_kind(
    rng: np.random.Generator, kind: Positions, table: dict[str, tuple[tuple[int, ...], tuple[float, ...]]]
) -> Days:
    drawn = np.zeros(len(kind), dtype=np.int64)
    for position, name in enumerate(KINDS):
        values, shares = table[name]
        drawn[kind == position] = rng.choice(values, int((kind == position).sum()), p=shares)
    return drawn
