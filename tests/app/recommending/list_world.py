"""A world of seasons, franchises and titles for adults, with the MAL ids of the real ones, and a model of it."""

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.users import build_users
from recsys.features.franchises import compute_franchises
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

GEASS, GEASS_2, DEATH_NOTE, TITAN = 1575, 2904, 1535, 16498
CLANNAD, AFTER_STORY = 2167, 4181
YUGIOH = {481: "Duel Monsters", 482: "Duel Monsters GX", 3972: "5D's", 10015: "Zexal", 21639: "Arc-V", 34866: "VRAINS"}
TALES = {5081: "Bake", 11597: "Nise", 17074: "Hana", 28025: "Tsuki", 31181: "Owari"}
ADULT = {900: (["Yuri", "Hentai"], None), 901: (["yuri", "HENTAI"], None), 902: (["Yuri"], "Rx - Hentai")}

# id, title, type, year, studio, thousands of members, genres, age rating
Row = tuple[int, str, str, int, str, int, list[str], str | None]


def list_rows() -> list[Row]:
    rows: list[Row] = [
        (1, "Cowboy Bebop", "TV", 1998, "Sunrise", 1250, ["Action"], "R"),
        (5, "Cowboy Bebop: Tengoku no Tobira", "Movie", 2001, "Bones", 270, ["Action"], "R"),
        (2, "Blue Harbour", "TV", 2003, "Gonzo", 300, ["Drama"], "PG-13"),
        (3, "Paper Lantern", "TV", 2004, "Gonzo", 280, ["Romance"], "PG-13"),
        (GEASS, "Code Geass: Hangyaku no Lelouch", "TV", 2006, "Sunrise", 1600, ["Action", "Drama"], "R"),
        (GEASS_2, "Code Geass: Hangyaku no Lelouch R2", "TV", 2008, "Sunrise", 1300, ["Action", "Drama"], "R"),
        (DEATH_NOTE, "Death Note", "TV", 2006, "Madhouse", 2500, ["Mystery"], "R"),
        (2994, "Death Note: Rewrite", "Special", 2007, "Madhouse", 150, ["Mystery"], "R"),
        (TITAN, "Shingeki no Kyojin", "TV", 2013, "Wit", 2400, ["Action"], "R"),
        (25777, "Shingeki no Kyojin Season 2", "TV", 2017, "Wit", 1700, ["Action"], "R"),
        (CLANNAD, "Clannad", "TV", 2007, "Kyoto Animation", 900, ["Romance", "Slice of Life"], "PG-13"),
        (
            AFTER_STORY,
            "Clannad: After Story",
            "TV",
            2008,
            "Kyoto Animation",
            800,
            ["Romance", "Slice of Life"],
            "PG-13",
        ),
    ]
    for place, (item_id, name) in enumerate(YUGIOH.items()):
        rows.append((item_id, f"Yu☆Gi☆Oh! {name}", "TV", 2000 + 2 * place, "Gallop", 300, ["Action", "Game"], "PG-13"))
    for place, (item_id, name) in enumerate(TALES.items()):
        rows.append((item_id, f"{name}monogatari", "TV", 2009 + place, "Shaft", 900 - 80 * place, ["Mystery"], "R"))
    for item_id, (genres, rating) in ADULT.items():
        rows.append((item_id, f"Night {item_id} Lily", "OVA", 2010, f"Studio {item_id}", 3000, genres, rating))
    words = ["Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Glade", "Heron", "Inlet", "Jetty", "Knoll", "Larch"]
    genres = [["Action"], ["Romance", "Slice of Life"], ["Drama"], ["Mystery", "Game"], ["Yuri", "Drama"]]
    for place in range(48):
        name = f"{words[place % 12]}{'aeiou'[place // 12] * 2}ra {words[(5 * place + 3) % 12]}wick"
        row = (5000 + place, name, "TV", 1990 + place % 30, f"House {place}", 60 - place, genres[place % 5], "PG-13")
        rows.append(row)
    return rows


@cache
def build_world() -> tuple[Catalog, Interactions]:
    """The catalog, and 200 users who watch seasons after one another."""
    rows = list_rows()
    items = pd.DataFrame({name: [None] * len(rows) for name in ItemColumns.All})
    columns = [Columns.Item, ItemColumns.Title, ItemColumns.Type]
    for place, column in enumerate(columns):
        items[column] = [row[place] for row in rows]
    items[ItemColumns.AiredFrom] = [date(row[3], 4, 1) for row in rows]
    items[ItemColumns.Studios] = [[row[4]] for row in rows]
    items[ItemColumns.Genres] = [row[6] for row in rows]
    items[ItemColumns.AgeRating] = [row[7] for row in rows]
    items[ItemColumns.Synonyms] = [[] for _ in rows]
    items[ItemColumns.Source] = "Manga"
    items[ItemColumns.Synopsis] = [f"A story about {row[6][0].lower()}." for row in rows]
    items[ItemColumns.Numericals] = np.nan
    items[ItemColumns.Members] = [1000.0 * row[5] for row in rows]
    items[ItemColumns.Episodes], items[ItemColumns.DurationMinutes] = 12.0, 24.0
    items[ItemColumns.MeanScore] = 7.0
    catalog = Catalog(items)
    order = compute_franchises(catalog)
    members = catalog.items[ItemColumns.Members].to_numpy()
    rng = np.random.default_rng(11)
    frames = []
    for user_id in range(1, 201):
        picked = set(rng.choice(len(catalog), size=rng.integers(8, 20), replace=False, p=members / members.sum()))
        watched = sorted({int(other) for place in picked for other in [place, *order.list_before(int(place))]})
        liking = rng.normal(7.5, 1.0) + rng.normal(0, 1.3, len(watched))
        table = {Columns.Item: catalog.item_ids[watched], Columns.Rating: np.clip(liking, 1, 10).round()}
        frames.append(pd.DataFrame({Columns.User: user_id, **table}))
    return catalog, Interactions(pd.concat(frames, ignore_index=True)[Columns.Interactions])


@cache
def train_list_model() -> Recommender:
    """A recommender of that world, trained in a second or two."""
    catalog, interactions = build_world()
    users = build_users(interactions, catalog)
    first_stage = fit_first_stage(
        users.history,
        catalog,
        lambda: [EaseMixture(), Als(n_factors=8, seed=0), ItemKnn(), LightFm(n_components=8, seed=0), Popular()],
    )
    vectors = np.random.default_rng(0).normal(size=(len(catalog), 384)).astype(np.float32)
    franchises = compute_franchises(catalog, users.history)
    items = ItemSide(catalog, vectors, compute_title_neighbours(catalog), first_stage.item_vectors, franchises)
    small = {"n_estimators": 20, "num_leaves": 7, "min_data_in_leaf": 5}
    preset = get_preset("default")
    preset = replace(
        preset, n_per_model=40, relevance=replace(preset.relevance, **small), rating=replace(preset.rating, **small)
    )
    retriever = Retriever(first_stage, items, preset.n_per_model)
    tables = build_tables([(retriever, users, find_rated(users.history))], preset.groups)
    return Recommender(retriever, train_ranker(tables, tables, preset, seed=0, n_threads=1).ranker)
