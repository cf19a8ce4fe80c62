"""Train a whole recommender in memory: first stage, cross-fitted tables, both heads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.splits import TRAIN, VALIDATION, assign_folds, select_group
from recsys.data.users import Users, add_dropped_targets, build_users
from recsys.data.watch_statuses import WatchStatuses, select_dropped
from recsys.features.franchises import compute_franchises
from recsys.features.item_side import ItemSide
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.ranking.params import Preset
from recsys.recommender.model import Recommender
from recsys.recommender.retriever import Retriever
from recsys.recommender.training import (
    N_FOLDS,
    HeadTables,
    TrainedRanker,
    build_tables,
    build_training_users,
    find_rated,
    swap_item_vectors,
    train_ranker,
)
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.first_stage import FirstStage, cross_fit
from recsys.retrieval.registry import make_first_stage
from recsys.retrieval.spec import ModelInputs
from recsys.types import Floats, Mask, RatingMatrix

# Called with a stage, how much of it is done and out of how much.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FittedRecommender:
    """A recommender and the training history of its heads."""

    recommender: Recommender
    trained: TrainedRanker
    n_users: int


def fit_recommender(
    catalog: Catalog,
    interactions: Interactions,
    text_vectors: Floats,
    preset: Preset,
    *,
    seed: int,
    n_threads: int,
    models: Callable[[ModelInputs], Sequence[CandidateGenerator]] = make_first_stage,
    statuses: WatchStatuses | None = None,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
) -> FittedRecommender:
    """Fit on the training users of some ratings and stop early on the validation users; test users are not looked at.

    Parameters
    ----------
    text_vectors
        Synopsis embeddings in catalog order, `(n_items, 384)`.
    models
        Makes the unfitted first-stage models.
    statuses
        What is known besides ratings; looked at where the preset has a rating for dropped titles.
    """
    training = select_group(interactions, TRAIN)
    inputs = ModelInputs(lambda: text_vectors, seed)
    stages = cross_fit(
        training.to_matrix(catalog),
        training.user_ids,
        catalog,
        lambda: models(inputs),
        n_folds=N_FOLDS,
        n_threads=n_threads,
    )
    counted = _count(stages, lambda done: on_progress("fit retrieval", done, N_FOLDS + 1))
    full = next(counted)
    return train_recommender(
        full,
        counted,
        interactions,
        (catalog, text_vectors, compute_title_neighbours(catalog)),
        preset,
        seed=seed,
        n_threads=n_threads,
        statuses=statuses,
        on_progress=on_progress,
    )


def _count(stages: Iterable[FirstStage], report: Callable[[int], None]) -> Iterator[FirstStage]:
    for done, stage in enumerate(stages, start=1):
        report(done)
        yield stage


@dataclass(frozen=True)
class TrainingData:
    """Feature tables that both heads are trained on.

    Parameters
    ----------
    retriever
        Stands on the first stage of all training users; serves, and has described the validation users.
    n_users
        Training rows of users: each counts once for every split of its ratings.
    """

    retriever: Retriever
    train: HeadTables
    validation: HeadTables
    n_users: int

    def keep_groups(self, groups: Sequence[str]) -> "TrainingData":
        """Return the same training data with the features of some groups only."""
        return replace(self, train=self.train.keep_groups(groups), validation=self.validation.keep_groups(groups))


def train_recommender(
    full: FirstStage,
    folds: Iterable[FirstStage],
    interactions: Interactions,
    titles: tuple[Catalog, Floats, RatingMatrix],
    preset: Preset,
    *,
    seed: int,
    n_threads: int,
    statuses: WatchStatuses | None = None,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
) -> FittedRecommender:
    """Train both heads on top of fitted first stages and put the whole recommender together.

    Parameters
    ----------
    full
        Fitted on all training users; serves, and describes the validation users.
    folds
        Fold by fold, fitted without the training users of that fold.
    titles
        The catalog, its synopsis embeddings and its title neighbours.
    statuses
        What is known besides ratings; looked at where the preset has a rating for dropped titles.
    """
    training_data = build_training_data(
        full, folds, interactions, titles, preset, n_threads=n_threads, statuses=statuses, on_progress=on_progress
    )
    return train_heads(training_data, preset, seed=seed, n_threads=n_threads, on_progress=on_progress)


def build_retriever(
    full: FirstStage,
    titles: tuple[Catalog, Floats, RatingMatrix],
    preset: Preset,
    ratings: RatingMatrix | None = None,
) -> Retriever:
    """Put the first stage and what is known of titles together; the ratings are those of training users."""
    catalog, text_vectors, neighbours = titles
    franchises = compute_franchises(catalog, ratings)
    items = ItemSide(catalog, text_vectors, neighbours, full.item_vectors, franchises)
    return Retriever(full, items, preset.n_per_model)


def build_training_data(
    full: FirstStage,
    folds: Iterable[FirstStage],
    interactions: Interactions,
    titles: tuple[Catalog, Floats, RatingMatrix],
    preset: Preset,
    *,
    n_threads: int = 1,
    statuses: WatchStatuses | None = None,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
) -> TrainingData:
    """Describe the candidates of all training and validation users; parameters as in `train_recommender`."""
    catalog = titles[0]
    training = select_group(interactions, TRAIN)
    ratings = training.to_matrix(catalog)
    final = build_retriever(full, titles, preset, ratings)
    users = build_training_users(training, catalog, preset.n_splits)
    if preset.dropped_rating is not None and statuses is not None:
        users = add_dropped_targets(users, select_dropped(statuses, interactions), catalog, preset.dropped_rating)
    places = assign_folds(users.user_ids, N_FOLDS)
    folds_of_ratings = assign_folds(training.user_ids, N_FOLDS)
    # Raw LightFM dimensions have a meaning within one fit only, so a preset that uses them reads the final fit.
    raw = "lightfm_raw" in preset.groups

    def parts() -> Iterator[tuple[Retriever, Users, Mask]]:
        for fold, first_stage in enumerate(folds):
            side = final.items if raw else swap_item_vectors(final.items, first_stage)
            members = users.select(np.flatnonzero(places == fold))
            rated = find_rated(ratings[folds_of_ratings != fold])
            yield Retriever(first_stage, side, preset.n_per_model), members, rated
            on_progress("featurise", fold + 1, N_FOLDS + 1)

    train = build_tables(parts(), preset.groups, negative_share=preset.negative_share, n_threads=n_threads)
    validators = build_users(select_group(interactions, VALIDATION), catalog)
    validation = build_tables([(final, validators, find_rated(ratings))], preset.groups, n_threads=n_threads)
    on_progress("featurise", N_FOLDS + 1, N_FOLDS + 1)
    return TrainingData(final, train, validation, len(users.user_ids))


def train_heads(
    training_data: TrainingData,
    preset: Preset,
    *,
    seed: int,
    n_threads: int,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
) -> FittedRecommender:
    """Train both heads of a preset; the training data hold the features of its groups."""
    trained = train_ranker(
        training_data.train,
        training_data.validation,
        preset,
        seed=seed,
        n_threads=n_threads,
        on_progress=lambda head, done, total: on_progress(f"train {head} head", done, total),
    )
    return FittedRecommender(Recommender(training_data.retriever, trained.ranker), trained, training_data.n_users)
