"""The tables `anime.csv` and `anime_with_synopsis.csv` as MyAnimeList would show them, "Unknown" included."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.data.sample_world import formats, missing_values
from recsys.data.sample_world.audience import Audience
from recsys.data.sample_world.stories import Stories
from recsys.data.sample_world.themes import GENRES
from recsys.data.sample_world.titles import draw_name
from recsys.data.sample_world.vocabulary import Word
from recsys.data.sample_world.works import KINDS, Works

Texts = npt.NDArray[np.object_]

SOURCE_SHARES = {
    "Original": 0.297, "Manga": 0.218, "Unknown": 0.203, "Visual novel": 0.057, "Game": 0.050, "Light novel": 0.044,
    "Other": 0.034, "Novel": 0.029, "Music": 0.018, "4-koma manga": 0.016, "Web manga": 0.014, "Picture book": 0.008,
    "Book": 0.006, "Card game": 0.004, "Digital manga": 0.001, "Radio": 0.001,
}  # fmt: skip
G, PG, PG13 = "G - All Ages", "PG - Children", "PG-13 - Teens 13 or older"
R, NUDITY, ADULT = "R - 17+ (violence & profanity)", "R+ - Mild Nudity", "Rx - Hentai"
HARD_GENRES = ("Horror", "Thriller", "Psychological", "Police", "Vampire")
COMPANY_FORMS = ("Studio {}", "{} Animation", "{} Works", "{} Pictures", "{}-sha", "Production {}")


def build_anime(
    rng: np.random.Generator, stories: Stories, works: Works, audience: Audience, titles: list[Word]
) -> pd.DataFrame:
    """Build `anime.csv`, one row per title in the order of `works`, all columns as text."""
    genres = stories.genres[works.story]
    episodes = formats.draw_episodes(rng, works.kind)
    first, last = formats.draw_dates(rng, works.year, episodes)
    companies = build_companies(rng, len(stories.sizes), len(works))
    columns: dict[str, object] = {
        "MAL_ID": works.item_ids,
        "Name": [title.romaji for title in titles],
        "Score": formats.numbers(audience.score),
        "Genders": [", ".join(GENRES[position] for position in np.flatnonzero(row)) for row in genres],
        "English name": [title.english for title in titles],
        "Japanese name": [title.japanese for title in titles],
        "Type": np.array(KINDS, dtype=object)[works.kind],
        "Episodes": episodes.astype(str).astype(object),
        "Aired": formats.aired(first, last, works.kind),
        "Premiered": formats.premiered(first, works.kind),
        "Producers": companies["producers"][works.story],
        "Licensors": companies["licensors"][works.story],
        "Studios": companies["studios"][works.story],
        "Source": _draw_sources(rng, len(stories.sizes))[works.story],
        "Duration": formats.draw_durations(rng, works.kind, episodes),
        "Rating": _draw_age_ratings(rng, genres),
    }
    columns |= _audience_columns(audience, adult=genres[:, GENRES.index("Hentai")])
    return missing_values.remove_values(rng, pd.DataFrame(columns), audience.popularity)


def build_synopsis_table(rng: np.random.Generator, anime: pd.DataFrame, synopses: list[str]) -> pd.DataFrame:
    """Build `anime_with_synopsis.csv`; as in the real file no title for adults is in it."""
    table = anime[["MAL_ID", "Name", "Score", "Genders"]].assign(
        sypnopsis=missing_values.remove_synopses(rng, synopses)
    )
    return table[~anime["Genders"].str.contains("Hentai")]


def build_companies(rng: np.random.Generator, n_stories: int, n_items: int) -> dict[str, Texts]:
    """Give each franchise a studio, one to three producers and a licensor, with a few large companies."""
    names = sorted({_company(rng) for _ in range(max(8, n_items // 12))})
    weights = 1 / np.arange(3, len(names) + 3)

    def draw(n: int, pool: int) -> Texts:
        share = weights[:pool] / weights[:pool].sum()
        return np.array(names, dtype=object)[:pool][rng.choice(pool, n, p=share)]

    producers = [draw(n_stories, len(names)) for _ in range(3)]
    how_many = rng.integers(1, 4, n_stories)
    return {
        "studios": draw(n_stories, len(names)),
        "licensors": draw(n_stories, max(3, len(names) // 8)),
        "producers": np.array(
            [", ".join(dict.fromkeys(row[:n])) for n, *row in zip(how_many, *producers, strict=True)], dtype=object
        ),
    }


def _company(rng: np.random.Generator) -> str:
    return COMPANY_FORMS[int(rng.integers(len(COMPANY_FORMS)))].format(draw_name(rng).romaji)


def _draw_sources(rng: np.random.Generator, n: int) -> Texts:
    shares = np.array(list(SOURCE_SHARES.values()))
    return np.array(list(SOURCE_SHARES), dtype=object)[rng.choice(len(shares), n, p=shares / shares.sum())]


def _draw_age_ratings(rng: np.random.Generator, genres: npt.NDArray[np.bool_]) -> Texts:
    def carries(*names: str) -> npt.NDArray[np.bool_]:
        return np.asarray(genres[:, [GENRES.index(name) for name in names]].any(axis=1))

    draws = rng.random(len(genres))
    rating = np.where(draws < 0.62, PG13, np.where(draws < 0.88, G, np.where(draws < 0.96, PG, R))).astype(object)
    rating[carries("Music") & (draws < 0.55)] = G
    rating[carries(*HARD_GENRES) & (draws < 0.6)] = R
    rating[carries("Kids")] = np.where(draws < 0.75, G, PG)[carries("Kids")]
    rating[carries("Ecchi") & (draws < 0.85)] = NUDITY
    rating[carries("Hentai")] = ADULT
    return rating


def _audience_columns(audience: Audience, adult: npt.NDArray[np.bool_]) -> dict[str, object]:
    score = np.where(np.isnan(audience.score), -1, audience.score)
    # Titles for adults are not ranked; those without a score come after all others.
    by_score = np.lexsort((-audience.members, -score, adult))
    ranked, popularity = np.empty(len(score)), np.empty(len(score), dtype=np.int64)
    ranked[by_score] = np.arange(1, len(score) + 1)
    popularity[np.argsort(-audience.members, kind="stable")] = np.arange(1, len(score) + 1)
    watching, on_hold, dropped, planned, completed = audience.statuses.T
    columns: dict[str, object] = {
        "Ranked": formats.numbers(np.where(adult, np.nan, ranked)),
        "Popularity": popularity,
        "Members": audience.members,
        "Favorites": audience.favorites,
        "Watching": watching,
        "Completed": completed,
        "On-Hold": on_hold,
        "Dropped": dropped,
        "Plan to Watch": planned,
    }
    for mark in range(10, 0, -1):
        counts = audience.marks[:, mark - 1].astype(np.float64)
        columns[f"Score-{mark}"] = formats.numbers(np.where(counts == 0, np.nan, counts))
    return columns
