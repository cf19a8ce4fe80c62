"""Missing values and placeholders of the same kinds and shares as in the real files.

Measured on the real data and repeated here:

- 0.8 % of the ratings name a title that `anime.csv` does not list (`UNLISTED_RATING_SHARE`).
- 60 % of the titles have no English name, 40 % no studio, 44 % no producer, 78 % no licensor, 20 % no source; the
  unpopular ones lack more. 3-4 % have no age rating, duration or number of episodes, 2 % no date, 0.4 % no genre.
- Titles with few marks have no score, marks that were never given are "Unknown", works for adults have no rank and do
  not occur in `anime_with_synopsis.csv`.
- 4.6 % of the synopses are a placeholder sentence, a few are empty.
- 1 % of the accounts know one mark only; very few rate a large part of everything.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.data.sample_world.formats import UNKNOWN

UNLISTED_RATING_SHARE = 0.0082
UNLISTED_TITLE_SHARE = 0.06
# Power of the popularity (a quantile) that gives the share of titles with a value: 1 / (power + 1).
KNOWN_BY_POPULARITY = {"English name": 1.5, "Studios": 0.67, "Producers": 0.8, "Licensors": 3.4}
UNKNOWN_SHARES = {
    "Genders": 0.0036, "Japanese name": 0.003, "Type": 0.002, "Episodes": 0.029, "Aired": 0.018, "Duration": 0.032,
    "Rating": 0.039,
}  # fmt: skip
PLACEHOLDERS = (
    "No synopsis information has been added to this title. Help improve our database by adding a synopsis here .",
    "No synopsis has been added for this series yet. Click here to update this information.",
)
PLACEHOLDER_SHARES = (0.0437, 0.0022)
EMPTY_SHARE = 0.0005


def remove_values(rng: np.random.Generator, anime: pd.DataFrame, popularity: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Replace values by "Unknown" where the site has none; returns a new table."""
    table = anime.copy()
    for column, power in KNOWN_BY_POPULARITY.items():
        table.loc[rng.random(len(anime)) >= popularity**power, column] = UNKNOWN
    for column, share in UNKNOWN_SHARES.items():
        table.loc[rng.random(len(anime)) < share, column] = UNKNOWN
    return table


def remove_synopses(rng: np.random.Generator, synopses: list[str]) -> npt.NDArray[np.object_]:
    """Replace some synopses by the site's placeholders or by nothing."""
    texts = np.array(synopses, dtype=object)
    draws = rng.random(len(texts))
    often, seldom = PLACEHOLDER_SHARES
    texts[draws < often + seldom + EMPTY_SHARE] = ""
    texts[draws < often + seldom] = PLACEHOLDERS[1]
    texts[draws < often] = PLACEHOLDERS[0]
    return texts
