"""What the benchmark of the service is run on: a forest of the original's shape, and a default model."""

from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sample_world import write_sample_world
from recsys.data.sources.reading import read_source
from recsys.data.users import build_users
from recsys.features.item_side import ItemSide, normalise_rows
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.ranking.params import get_preset
from recsys.recommender import Recommender
from recsys.recommender.retriever import Retriever
from recsys.recommender.training import add_cold_start_users, build_tables, find_rated, train_ranker
from recsys.retrieval.first_stage import fit_first_stage
from recsys.retrieval.registry import make_first_stage
from recsys.retrieval.spec import ModelInputs
from recsys.types import Floats

N_GENRES = 44
N_TEXT = 384
N_LIGHTFM = 64


@dataclass(frozen=True)
class Shape:
    """How large a forest and its catalog are; `n_trained` trees are repeated until there are `n_trees`."""

    n_items: int = 14_353
    n_users: int = 2_000
    n_rows: int = 20_000
    n_trees: int = 2_000
    n_trained: int = 40
    n_leaves: int = 255


@dataclass(frozen=True)
class SeedForest:
    """A regressor of ratings over 45 features of a user and 448 of a title, as the original trained it."""

    booster: lgb.Booster
    users: Floats
    titles: Floats


def train_seed_forest(shape: Shape, rng: np.random.Generator) -> SeedForest:
    """Train on ratings that depend on both sides, under the original's parameters, and repeat the trees.

    A repeated tree costs as much as another one: every copy has its own nodes, and every row goes through each.
    """
    shares = rng.dirichlet(np.full(N_GENRES, 0.3), shape.n_users)
    means = rng.normal(7.5, 0.9, shape.n_users).clip(1, 10)
    users = np.column_stack([shares, means]).astype(np.float32)
    titles = rng.normal(size=(shape.n_items, N_LIGHTFM + N_TEXT)).astype(np.float32)
    titles[:, N_LIGHTFM:] = normalise_rows(titles[:, N_LIGHTFM:])
    rows = rng.integers(0, shape.n_users, shape.n_rows), rng.integers(0, shape.n_items, shape.n_rows)
    quality = titles @ rng.normal(size=titles.shape[1]) / 10
    tastes = shares @ rng.normal(size=(N_GENRES, N_LIGHTFM)) / 2
    fit = np.einsum("ij,ij->i", tastes[rows[0]], titles[rows[1], :N_LIGHTFM])
    ratings = (means[rows[0]] + quality[rows[1]] + fit + rng.normal(0, 0.8, shape.n_rows)).clip(1, 10).round()
    table = np.hstack([users[rows[0]], titles[rows[1]]])
    head = replace(get_preset("original").rating, num_leaves=shape.n_leaves)
    params = head.to_lightgbm(seed=0, n_threads=1)
    booster = lgb.train(params, lgb.Dataset(table, ratings, params=params), shape.n_trained)
    return SeedForest(repeat_trees(booster, shape.n_trees), users, titles)


def repeat_trees(booster: lgb.Booster, n_trees: int) -> lgb.Booster:
    """Return a model that holds the trees of another one again and again, `n_trees` altogether."""
    header, *rest = booster.model_to_string().split("\nTree=")
    *blocks, last = rest
    last, footer = last.split("\nend of trees", 1)
    bodies = [block.split("\n", 1)[1].strip("\n") for block in [*blocks, last]]
    # Without the sizes of the trees LightGBM reads them one after the other.
    lines = [line for line in header.splitlines() if not line.startswith("tree_sizes=")]
    trees = [f"Tree={number}\n{bodies[number % len(bodies)]}\n\n\n" for number in range(n_trees)]
    return lgb.Booster(model_str="\n".join([*lines, "", *trees]) + "end of trees" + footer)


@dataclass(frozen=True)
class World:
    """A recommender and the users whom it serves."""

    recommender: Recommender
    ratings: pd.DataFrame


def train_default_model(
    folder: Path, *, n_items: int, n_users: int, n_ratings: int, n_trees: int, n_learners: int
) -> World:
    """Train the default preset on synthetic data.

    What the lists are worth is not the question here, so the first stage is fitted once instead of once a fold, the
    synopses are random vectors, and the ranker is trained on a sample of the users, for a fixed number of rounds of
    which the best are kept.
    """
    write_sample_world(folder, n_users=n_users, n_items=n_items, n_ratings=n_ratings, seed=0)
    source = read_source(folder)
    catalog, interactions = Catalog(source.items), Interactions(source.ratings)
    users = build_users(interactions, catalog)
    first_stage = fit_first_stage(users.history, catalog, lambda: make_first_stage(ModelInputs()))
    texts = np.random.default_rng(0).normal(size=(len(catalog), N_TEXT)).astype(np.float32)
    items = ItemSide(catalog, texts, compute_title_neighbours(catalog), first_stage.item_vectors)
    preset = get_preset("default")
    heads = {
        name: replace(getattr(preset, name), n_estimators=n_trees, early_stopping_rounds=n_trees)
        for name in ("relevance", "rating")
    }
    preset = replace(preset, **heads)
    retriever = Retriever(first_stage, items, preset.n_per_model)
    places = np.arange(len(users.user_ids))
    parts = [users.select(places[:n_learners]), users.select(places[n_learners : n_learners + n_learners // 4])]
    rated = find_rated(users.history)
    train, validation = (
        build_tables([(retriever, add_cold_start_users(part, catalog), rated)], preset.groups) for part in parts
    )
    trained = train_ranker(train, validation, preset, seed=0, n_threads=1)
    return World(Recommender(retriever, trained.ranker), interactions.table)


def choose_users(ratings: pd.DataFrame, n_users: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw users with at least five ratings."""
    counts = ratings.groupby("user_id").size()
    known = counts.index[counts >= 5].to_numpy(dtype=np.int64)
    return rng.choice(known, min(n_users, len(known)), replace=False)
