"""A small world with tastes that can be learned, and a recommender really trained on it in a second or two."""

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.users import build_users
from recsys.features.item_side import ItemSide
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.ranking.params import get_preset
from recsys.recommender import Recommender
from recsys.recommender.retriever import Retriever
from recsys.recommender.training import build_tables, find_rated, train_ranker
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.first_stage import fit_first_stage
from recsys.retrieval.item_item import ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.registry import MODELS

# id, default title, English title, genres, type, age rating, year; half are about fights, half about love.
_TITLES: list[tuple[int, str, str | None, list[str], str, str, int]] = [
    (1, "Cowboy Bebop", None, ["Action", "Space"], "TV", "R - 17+ (violence & profanity)", 1998),
    (5, "Cowboy Bebop: Tengoku no Tobira", "Cowboy Bebop: The Movie", ["Action", "Space"], "Movie", "R", 2001),
    (6, "Trigun", None, ["Action", "Comedy"], "TV", "PG-13 - Teens 13 or older", 1998),
    (19, "Monster", None, ["Drama", "Mystery"], "TV", "R+ - Mild Nudity", 2004),
    (20, "Naruto", None, ["Action", "Shounen"], "TV", "PG-13 - Teens 13 or older", 2002),
    (30, "Neon Genesis Evangelion", None, ["Action", "Drama"], "TV", "PG-13 - Teens 13 or older", 1995),
    (440, "Shoujo Kakumei Utena", "Revolutionary Girl Utena", ["Drama", "Romance"], "TV", "PG-13", 1997),
    (5114, "Fullmetal Alchemist: Brotherhood", None, ["Action", "Shounen"], "TV", "R", 2009),
]
_FIGHT, _LOVE = ["Action", "Shounen", "Space"], ["Romance", "Drama", "Slice of Life"]
N_ITEMS, N_USERS = 48, 160
ADULT_ITEM = 10_039


def tiny_catalog() -> Catalog:
    """48 titles: eight that everybody knows, and forty made up ones, alternately about fights and love."""
    rows = list(_TITLES)
    for number in range(N_ITEMS - len(rows)):
        genres = _FIGHT if number % 2 else _LOVE
        kind = "TV" if number % 3 else "Movie"
        name = f"{'Sword' if number % 2 else 'Heart'} of the {number}th Garden"
        rating = "Rx - Hentai" if 10_000 + number == ADULT_ITEM else "PG-13"
        rows.append(
            (10_000 + number, name, None, [genres[0], genres[2 - number % 2]], kind, rating, 1990 + number % 30)
        )
    items = pd.DataFrame({name: [None] * len(rows) for name in ItemColumns.All})
    shown = [Columns.Item, ItemColumns.Title, ItemColumns.TitleEnglish, ItemColumns.Genres, ItemColumns.Type]
    for place, column in enumerate([*shown, ItemColumns.AgeRating]):
        items[column] = pd.Series([row[place] for row in rows])
    items[ItemColumns.AiredFrom] = pd.Series([date(row[6], 4, 1) for row in rows])
    items[ItemColumns.TitleJapanese] = pd.Series(["カウボーイビバップ", *[None] * (len(rows) - 1)])
    items[ItemColumns.Synopsis] = pd.Series([f"A story about {row[3][0].lower()}." for row in rows])
    items[ItemColumns.Source] = "Original"
    for name in (ItemColumns.Synonyms, ItemColumns.Studios):
        items[name] = pd.Series([[] for _ in rows])
    items[ItemColumns.Numericals] = np.nan
    items[ItemColumns.Members] = [float(1_000_000 // (place + 1)) for place in range(len(rows))]
    items[ItemColumns.Episodes] = 12.0
    items[ItemColumns.MeanScore] = 7.0
    return Catalog(items)


@cache
def tiny_world() -> tuple[Catalog, Interactions]:
    """The catalog, and 160 users (ids 1..160) of whom the odd ones like fights and the even ones love stories."""
    catalog = tiny_catalog()
    rng = np.random.default_rng(7)
    fights = np.array(["Action" in genres for genres in catalog.items[ItemColumns.Genres]])
    frames = []
    for user_id in range(1, N_USERS + 1):
        liked = fights if user_id % 2 else ~fights
        rows = rng.choice(len(catalog), size=rng.integers(6, 18), replace=False, p=_weights(liked))
        ratings = np.clip(rng.normal(np.where(liked[rows], 8.5, 5.0), 1.0), 1, 10).round()
        frames.append(
            pd.DataFrame({Columns.User: user_id, Columns.Item: catalog.item_ids[rows], Columns.Rating: ratings})
        )
    return catalog, Interactions(pd.concat(frames, ignore_index=True))


def _weights(liked: np.ndarray) -> np.ndarray:
    weights = np.where(liked, 3.0, 1.0)
    return weights / weights.sum()


@cache
def tiny_recommender(seed: int = 0) -> Recommender:
    """All first-stage models and both heads, small; another seed gives another model of the same world."""
    catalog, interactions = tiny_world()
    users = build_users(interactions, catalog)

    def make_models() -> list[EaseMixture | Als | ItemKnn | LightFm | Popular]:
        return [EaseMixture(), Als(n_factors=8, seed=seed), ItemKnn(), LightFm(n_components=8, seed=seed), Popular()]

    first_stage = fit_first_stage(users.history, catalog, make_models)
    vectors = np.random.default_rng(seed).normal(size=(len(catalog), 384)).astype(np.float32)
    items = ItemSide(catalog, vectors, compute_title_neighbours(catalog), first_stage.item_vectors)
    preset = get_preset("default")
    small = {"n_estimators": 20, "num_leaves": 7, "min_data_in_leaf": 5}
    preset = replace(
        preset, n_per_model=20, relevance=replace(preset.relevance, **small), rating=replace(preset.rating, **small)
    )
    retriever = Retriever(first_stage, items, preset.n_per_model)
    tables = build_tables([(retriever, users, find_rated(users.history))], preset.groups)
    trained = train_ranker(tables, tables, preset, seed=seed, n_threads=1)
    return Recommender(retriever, trained.ranker)


def list_tiny_algorithms() -> list[str]:
    """List what answers alone in the recommender above: without what is fitted beside the first stage."""
    specs = [spec for spec in MODELS if not (spec.standalone and spec.reads_ratings)]
    return [spec.algorithm for spec in specs if spec.algorithm is not None]
