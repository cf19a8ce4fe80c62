"""A whole recommender in memory: which users train it through which models, and that a seed decides everything."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.data.interactions import Interactions
from recsys.data.splits import TEST, TRAIN, VALIDATION, assign_folds, assign_groups, split_history
from recsys.ranking.params import HeadParams, Preset, get_preset
from recsys.recommender import UserProfile, fitting
from recsys.recommender.fitting import FittedRecommender, fit_recommender
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.item_item import Ease, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.spec import ModelInputs
from tests.factories import tiny_world


def few_models(inputs: ModelInputs) -> list[CandidateGenerator]:
    als = Als(n_factors=8, n_iterations=3, seed=inputs.seed)
    lightfm = LightFm(n_components=8, n_epochs=2, seed=inputs.seed)
    return [Ease(), als, ItemKnn(), lightfm, Popular()]


def quick_preset() -> Preset:
    def small(head: HeadParams) -> HeadParams:
        return replace(head, n_estimators=15, num_leaves=7, min_data_in_leaf=5)

    preset = get_preset("default")
    return replace(preset, n_per_model=20, relevance=small(preset.relevance), rating=small(preset.rating))


def fit(interactions: Interactions, on_progress: Any = lambda *_: None) -> FittedRecommender:
    catalog, _ = tiny_world()
    vectors = np.random.default_rng(0).normal(size=(len(catalog), 384)).astype(np.float32)
    return fit_recommender(
        catalog, interactions, vectors, quick_preset(), seed=3, n_threads=1, models=few_models, on_progress=on_progress
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
    *folds, (final, validators) = seen
    assert len(folds) == N_FOLDS
    training = interactions.user_ids[assign_groups(interactions.user_ids) == TRAIN]
    liked = (interactions.select_users(training).to_matrix(catalog) >= 7).astype(int)
    for fold, (retriever, users) in enumerate(folds):
        assert set(assign_folds(users.user_ids, N_FOLDS)) == {fold}
        # Popularity counts exactly the likes of the others.
        others = np.asarray(liked[assign_folds(training, N_FOLDS) != fold].sum(axis=0)).ravel()
        counted = np.expm1(retriever.first_stage.models["popular"].score(users.history[:1])[0])
        assert np.rint(counted).astype(int).tolist() == others.tolist()
    assert set(assign_groups(validators.user_ids)) == {VALIDATION}
    everybody = np.expm1(final.first_stage.models["popular"].score(validators.history[:1])[0])
    assert np.rint(everybody).astype(int).tolist() == np.asarray(liked.sum(axis=0)).ravel().tolist()
    hidden = split_history(interactions.select_users(training)).targets
    trained_on = {int(user) for _, users in folds for user in users.user_ids}
    assert trained_on == set(hidden.user_ids.tolist())
