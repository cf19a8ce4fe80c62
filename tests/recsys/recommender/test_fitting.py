"""A whole recommender in memory: which users train it through which models, and that a seed decides everything."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data.interactions import Interactions
from recsys.data.splits import TEST, TRAIN, VALIDATION, assign_folds, assign_groups, select_group, split_history
from recsys.data.users import add_dropped_targets
from recsys.data.watch_statuses import WatchStatuses, select_dropped
from recsys.ranking.params import HeadParams, Preset, get_preset
from recsys.recommender import UserProfile, fitting
from recsys.recommender.fitting import FittedRecommender, fit_recommender
from recsys.recommender.training import N_FOLDS, build_training_users, find_rated
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.item_item import ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.spec import ModelInputs
from tests.factories import tiny_world


def few_models(inputs: ModelInputs) -> list[CandidateGenerator]:
    als = Als(n_factors=8, n_iterations=3, seed=inputs.seed)
    lightfm = LightFm(n_components=8, n_epochs=2, seed=inputs.seed)
    return [EaseMixture(), als, ItemKnn(), lightfm, Popular()]


def quick_preset() -> Preset:
    def small(head: HeadParams) -> HeadParams:
        return replace(head, n_estimators=15, num_leaves=7, min_data_in_leaf=5)

    preset = get_preset("default")
    return replace(preset, n_per_model=20, relevance=small(preset.relevance), rating=small(preset.rating))


def fit(
    interactions: Interactions,
    on_progress: Any = lambda *_: None,
    *,
    statuses: WatchStatuses | None = None,
    dropped_rating: int | None = None,
) -> FittedRecommender:
    catalog, _ = tiny_world()
    vectors = np.random.default_rng(0).normal(size=(len(catalog), 384)).astype(np.float32)
    return fit_recommender(
        catalog,
        interactions,
        vectors,
        replace(quick_preset(), dropped_rating=dropped_rating),
        seed=3,
        n_threads=1,
        models=few_models,
        statuses=statuses,
        on_progress=on_progress,
    )


def ask(fitted: FittedRecommender) -> list[list[int]]:
    catalog, _ = tiny_world()
    histories = (catalog.item_ids[[8, 10]], catalog.item_ids[[9, 11, 13]])
    profiles = [UserProfile(ids, np.full(len(ids), 9, dtype=np.float32)) for ids in histories]
    return [fitted.recommender.recommend(profile).item_ids.tolist() for profile in profiles]


def test_a_seed_decides_everything_and_every_stage_is_told() -> None:
    _, interactions = tiny_world()
    told: dict[str, int] = {}
    lists = [ask(fit(interactions, lambda stage, done, _: told.update({stage: done}))) for _ in range(2)]
    assert lists[0] == lists[1]
    assert told["fit retrieval"] == told["featurise"] == N_FOLDS + 1
    assert "train relevance head" in told


def test_test_users_do_not_train() -> None:
    _, interactions = tiny_world()
    table = interactions.table.copy()
    tested = assign_groups(table["user_id"]) == TEST
    table.loc[tested, "rating"] = 11 - table.loc[tested, "rating"]
    assert ask(fit(Interactions(table))) == ask(fit(interactions))


def test_no_user_trains_through_models_fitted_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, interactions = tiny_world()
    seen: list[tuple[Any, Any]] = []
    build = fitting.build_tables

    def watch(parts: Any, *arguments: Any, **named: Any) -> Any:
        kept = list(parts)
        seen.extend(kept)
        return build(kept, *arguments, **named)

    monkeypatch.setattr(fitting, "build_tables", watch)
    fit(interactions)
    *folds, (final, validators, known) = seen
    assert len(folds) == N_FOLDS
    training = interactions.user_ids[assign_groups(interactions.user_ids) == TRAIN]
    ratings = interactions.select_users(training).to_matrix(catalog)
    liked = (ratings >= 7).astype(int)
    for fold, (retriever, users, rated) in enumerate(folds):
        assert set(assign_folds(users.user_ids, N_FOLDS)) == {fold}
        # Popularity counts exactly the likes of the others.
        rows = assign_folds(training, N_FOLDS) != fold
        others = np.asarray(liked[rows].sum(axis=0)).ravel()
        assert np.array_equal(rated, find_rated(ratings[rows]))
        counted = np.expm1(retriever.first_stage.models["popular"].score(users.history[:1])[0])
        assert np.rint(counted).astype(int).tolist() == others.tolist()
    assert set(assign_groups(validators.user_ids)) == {VALIDATION}
    assert np.array_equal(known, find_rated(ratings))
    everybody = np.expm1(final.first_stage.models["popular"].score(validators.history[:1])[0])
    assert np.rint(everybody).astype(int).tolist() == np.asarray(liked.sum(axis=0)).ravel().tolist()
    hidden = split_history(interactions.select_users(training)).targets
    trained_on = {int(user) for _, users, _ in folds for user in users.user_ids}
    assert trained_on == set(hidden.user_ids.tolist())


def test_dropped_titles_are_low_targets_of_training_users() -> None:
    catalog, interactions = tiny_world()
    training = select_group(interactions, TRAIN)
    rated = set(map(tuple, interactions.table[["user_id", "item_id"]].to_numpy().tolist()))
    pairs = [
        (user_id, next(item for item in catalog.item_ids.tolist() if (user_id, item) not in rated))
        for user_id in interactions.user_ids.tolist()
    ]
    rows = [*pairs, min(rated), (10**9, 1)]
    statuses = WatchStatuses(pd.DataFrame(rows, columns=["user_id", "item_id"]).assign(status="dropped"))
    users = build_training_users(training, catalog, n_splits=2)
    more = add_dropped_targets(users, select_dropped(statuses, interactions), catalog, 3)

    added = (more.targets - users.targets).tocoo()
    assert set(added.data.tolist()) == {3.0}
    found = set(zip(users.user_ids[added.row].tolist(), catalog.item_ids[added.col].tolist(), strict=True))
    assert found == {pair for pair in pairs if pair[0] in set(users.user_ids.tolist())}
    assert added.nnz == len(users.user_ids)
    assert (more.history != users.history).nnz == 0


def test_a_rating_for_dropped_titles_lowers_what_is_predicted_and_is_off_by_default() -> None:
    catalog, interactions = tiny_world()
    rated = set(map(tuple, interactions.table[["user_id", "item_id"]].to_numpy().tolist()))
    dropped = catalog.item_ids[:12]
    pairs = [
        (user, item)
        for user in interactions.user_ids.tolist()
        for item in dropped.tolist()
        if (user, item) not in rated
    ]
    statuses = WatchStatuses(pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(status="dropped"))
    plain = fit(interactions)
    off, on = (fit(interactions, statuses=statuses, dropped_rating=rating) for rating in (None, 1))
    assert off.trained.n_rows == plain.trained.n_rows
    assert ask(off) == ask(plain)
    assert on.trained.n_rows["rating"] > plain.trained.n_rows["rating"]
    profile = UserProfile(catalog.item_ids[[20]], np.array([9], dtype=np.float32))
    before, after = (fitted.recommender.predict_ratings(profile, dropped).mean() for fitted in (off, on))
    assert after < before
