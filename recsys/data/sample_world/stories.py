"""Franchises: what each is about, which genres it carries, how large and how liked it is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.data.sample_world.themes import ADULT_THEME, GENRE_SHARES, GENRES, MOTIFS, THEMES
from recsys.types import Floats, Positions

N_HIDDEN = 10
SIZES = np.arange(1, 13)
# About half of all titles share their name with another one.
SIZE_SHARES = np.array([80, 9, 4.5, 2.5, 1.5, 0.8, 0.5, 0.4, 0.3, 0.2, 0.2, 0.1]) / 100
GENRE_SHARPNESS = 6.0
APPEAL_SPREAD = 2.1
DECADES = np.array([1960, 1970, 1980, 1990, 2000, 2010])
DECADE_SHARES = np.array([0.03, 0.035, 0.08, 0.13, 0.25, 0.475])


@dataclass(frozen=True)
class Stories:
    """One row per franchise.

    Parameters
    ----------
    themes
        Weight of each theme, largest = main theme, `(n, n_themes)`.
    motifs
        Strength of each motif, `(n, n_motifs)`; the largest one shows in title and synopsis.
    hidden
        What users feel and no text tells, `(n, N_HIDDEN)`.
    genres
        `(n, 43)` in the order of `GENRES`.
    first_year
        Year of the first title, 1960..2020.
    appeal, quality
        Log popularity and how well liked, both about standard normal plus offsets.
    sizes
        Number of titles, at least 1.
    """

    themes: Floats
    motifs: Floats
    hidden: Floats
    genres: npt.NDArray[np.bool_]
    first_year: npt.NDArray[np.int64]
    appeal: Floats
    quality: Floats
    sizes: Positions

    @cached_property
    def main_theme(self) -> Positions:
        """Position in `THEMES` of the heaviest theme."""
        return np.asarray(np.argmax(self.themes, axis=1))

    @cached_property
    def main_motif(self) -> Positions:
        """Position in `MOTIFS` of the strongest motif."""
        return np.asarray(np.argmax(self.motifs, axis=1))


def build_stories(rng: np.random.Generator, n_items: int) -> Stories:
    """Draw franchises until they hold exactly `n_items` titles."""
    sizes = _draw_sizes(rng, n_items)
    n = len(sizes)
    themes = _draw_themes(rng, n)
    motifs = rng.normal(0, 0.25, (n, len(MOTIFS)))
    motifs[np.arange(n), rng.integers(0, len(MOTIFS), n)] += 1.5
    first_year = np.minimum(rng.choice(DECADES, n, p=DECADE_SHARES) + rng.integers(0, 10, n), 2020)
    appeal = APPEAL_SPREAD * rng.normal(0, 1, n) + themes @ np.array([theme.appeal for theme in THEMES])
    # Old titles are seen by few, large franchises exist because users came.
    appeal += -0.085 * np.maximum(2014 - first_year, 0) + 0.5 * np.log(sizes)
    quality = 0.45 * rng.normal(0, 1, n) + 0.22 * appeal
    return Stories(
        themes=themes.astype(np.float32),
        motifs=motifs.astype(np.float32),
        hidden=rng.normal(0, 1, (n, N_HIDDEN)).astype(np.float32),
        genres=_draw_genres(rng, themes),
        first_year=first_year,
        appeal=appeal.astype(np.float32),
        quality=quality.astype(np.float32),
        sizes=sizes,
    )


def _draw_sizes(rng: np.random.Generator, n_items: int) -> Positions:
    sizes = rng.choice(SIZES, n_items, p=SIZE_SHARES / SIZE_SHARES.sum())
    last = int(np.searchsorted(np.cumsum(sizes), n_items))
    sizes = sizes[: last + 1]
    sizes[-1] -= sizes.sum() - n_items
    return sizes


def _draw_themes(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    shares = np.array([theme.share for theme in THEMES])
    main = rng.choice(len(THEMES), n, p=shares / shares.sum())
    # A story for adults stays one; no other story becomes one by its second theme.
    shares[ADULT_THEME] = 0
    second = rng.choice(len(THEMES), n, p=shares / shares.sum())
    weight = np.where((main == ADULT_THEME) | (rng.random(n) < 0.35), 0.0, rng.uniform(0.3, 0.7, n))
    themes = np.zeros((n, len(THEMES)))
    themes[np.arange(n), second] += weight
    themes[np.arange(n), main] = 1.0
    return themes


def _draw_genres(rng: np.random.Generator, themes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Draw genres that follow the themes while every genre keeps its real share."""
    carries = np.array([[genre in theme.genres for genre in GENRES] for theme in THEMES], dtype=np.float64)
    pull = GENRE_SHARPNESS * np.minimum(themes @ carries, 1.0)
    adult = GENRES.index("Hentai")
    pull[:, adult] *= 3
    target = np.array([GENRE_SHARES[genre] for genre in GENRES])
    low, high = np.full(len(GENRES), -40.0), np.full(len(GENRES), 10.0)
    for _ in range(40):
        middle = (low + high) / 2
        above = (1 / (1 + np.exp(-(pull + middle)))).mean(axis=0) > target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    probability = 1 / (1 + np.exp(-(pull + low)))
    genres = rng.random(probability.shape) < probability
    bare = np.flatnonzero(~genres.any(axis=1))
    genres[bare, np.argmax(probability[bare], axis=1)] = True
    return np.asarray(genres, dtype=np.bool_)
