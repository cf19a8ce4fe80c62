"""Titles of the franchises: first works, seasons, films and specials, with the facts that shape their audience."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys.data.sample_world.stories import Stories
from recsys.data.sample_world.themes import THEMES
from recsys.types import Floats, Ids, Positions

KINDS = ("TV", "OVA", "Movie", "Special", "ONA", "Music")
FIRST_KIND_SHARES = np.array([0.34, 0.155, 0.175, 0.05, 0.14, 0.04])
LATER_KIND_SHARES = np.array([0.18, 0.22, 0.21, 0.29, 0.06, 0.01])
# Music videos and works for adults have their own formats.
KIND_SHARES_BY_THEME = {
    "stage": np.array([0.12, 0.06, 0.06, 0.04, 0.08, 0.64]),
    "adult": np.array([0.005, 0.935, 0.02, 0.02, 0.015, 0.005]),
}
KIND_APPEAL = np.array([2.0, -0.6, 0.5, -0.3, -1.2, -2.0])
LAST_YEAR = 2020


@dataclass(frozen=True)
class Works:
    """One row per title, in the order of its id.

    Parameters
    ----------
    item_ids
        Ascending, with gaps as on the site.
    story
        Row of the franchise in `Stories`.
    installment
        0 for the first title of a franchise, then 1, 2, …
    kind
        Position in `KINDS`.
    year
        First aired.
    appeal, quality
        Log popularity and how well liked.
    """

    item_ids: Ids
    story: Positions
    installment: Positions
    kind: Positions
    year: npt.NDArray[np.int64]
    appeal: Floats
    quality: Floats

    def __len__(self) -> int:
        return len(self.item_ids)

    def select(self, keep: npt.NDArray[np.bool_]) -> "Works":
        """Keep some titles; franchises are shared and keep their rows."""
        return replace(self, **{name: getattr(self, name)[keep] for name in self.__dataclass_fields__})


def build_works(rng: np.random.Generator, stories: Stories) -> Works:
    """Draw the titles of every franchise."""
    story = np.repeat(np.arange(len(stories.sizes)), stories.sizes)
    starts = np.cumsum(stories.sizes) - stories.sizes
    installment = np.arange(len(story)) - starts[story]
    n = len(story)
    kind = _draw_kinds(rng, stories.main_theme[story], story, installment)
    year = np.minimum(stories.first_year[story] + installment + (rng.random(n) < 0.3) * installment, LAST_YEAR)
    fading = np.minimum(installment, 6) * 0.22 * rng.uniform(0.3, 1.7, n)
    appeal = stories.appeal[story] + KIND_APPEAL[kind] + rng.normal(0, 0.7, n) - fading
    quality = stories.quality[story] + rng.normal(0, 0.3, n) - 0.3 * (kind == KINDS.index("Special"))
    # The site numbers titles as they are entered: mostly by year, with much disorder.
    order = np.lexsort((story, year + rng.normal(0, 7, n)))
    return Works(
        item_ids=np.cumsum(rng.geometric(0.4, n)).astype(np.int64),
        story=story[order],
        installment=installment[order],
        kind=kind[order],
        year=year[order],
        appeal=appeal[order].astype(np.float32),
        quality=quality[order].astype(np.float32),
    )


def _draw_kinds(rng: np.random.Generator, theme: Positions, story: Positions, installment: Positions) -> Positions:
    def draw(shares: npt.NDArray[np.float64]) -> Positions:
        return rng.choice(len(KINDS), len(theme), p=shares / shares.sum())

    kind = np.where(installment == 0, draw(FIRST_KIND_SHARES), draw(LATER_KIND_SHARES))
    for position, name in enumerate(each.name for each in THEMES):
        if name in KIND_SHARES_BY_THEME:
            kind = np.where(theme == position, draw(KIND_SHARES_BY_THEME[name]), kind)
    # A second season needs a first one.
    series = KINDS.index("TV")
    continued = np.zeros(int(story.max()) + 1, dtype=np.bool_)
    continued[story[(kind == series) & (installment > 0)]] = True
    kind[continued[story] & (installment == 0)] = series
    return kind
