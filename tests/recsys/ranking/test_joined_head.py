"""A head of several boosters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lightgbm.basic import LightGBMError

from recsys.exceptions import SchemaMismatchError
from recsys.ranking.joined_head import derive_seed, train_joined_head
from recsys.ranking.params import LOSS_WEIGHTS, PRESETS, HeadParams, Preset
from recsys.ranking.ranker import Ranker, TrainedHead, train_head
from tests.recsys.ranking.test_ranker import PARAMS, SCHEMA, build_tables

TRAIN, VALIDATION = build_tables()
QUICK = replace(PARAMS, n_estimators=10, feature_fraction=0.5)
MEMBERS = tuple(replace(QUICK, objective=loss) for loss in ("lambdarank", "binary") * 2)


def train(members: tuple[HeadParams, ...], *, seed: int = 0) -> TrainedHead:
    return train_joined_head(members, SCHEMA, TRAIN, VALIDATION, seed=seed, n_threads=1)


@pytest.fixture(scope="module")
def joined() -> TrainedHead:
    return train(MEMBERS)


def test_a_single_booster_is_what_it_was() -> None:
    """Versions and recipes with one booster do not change."""
    alone = train_head(QUICK, SCHEMA, TRAIN, VALIDATION, seed=5, n_threads=1)
    found = train((QUICK,), seed=5)
    assert found.booster.model_to_string() == alone.booster.model_to_string()
    assert found.n_trees == alone.booster.best_iteration


def test_every_booster_counts_as_much_as_its_loss_says(joined: TrainedHead) -> None:
    """In units of its own spread among the candidates of a user, so that no loss drowns the other."""
    parts = []
    for number, member in enumerate(MEMBERS):
        head = train_head(member, SCHEMA, TRAIN, VALIDATION, seed=derive_seed(0, number), n_threads=1)
        scores = np.asarray(head.booster.predict(VALIDATION.features, raw_score=True)).reshape(80, 12)
        parts.append(scores / scores.std(axis=1).mean())
    expected = np.average(parts, axis=0, weights=[LOSS_WEIGHTS[member.objective] for member in MEMBERS])
    np.testing.assert_allclose(joined.booster.predict(VALIDATION.features).reshape(80, 12), expected, rtol=1e-5)
    assert joined.n_trees == joined.booster.num_trees()
    assert list(joined.curves) == ["1: lambdarank", "2: binary", "3: lambdarank", "4: binary"]
    assert all(set(curve) == {"ndcg@10"} for curve in joined.curves.values())


def test_boosters_differ_by_their_seeds_and_repeat_with_the_head_s(joined: TrainedHead) -> None:
    assert len({derive_seed(seed, number) for seed in range(4) for number in range(4)}) == 16
    assert derive_seed(3, 0) == 3
    assert train(MEMBERS).booster.model_to_string() == joined.booster.model_to_string()
    assert train(MEMBERS, seed=1).booster.model_to_string() != joined.booster.model_to_string()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_boosters_that_are_trained_side_by_side_are_the_same(joined: TrainedHead, n_threads: int) -> None:
    heard: list[tuple[int, int]] = []
    found = train_joined_head(
        MEMBERS,
        SCHEMA,
        TRAIN,
        VALIDATION,
        seed=0,
        n_threads=n_threads,
        on_iteration=lambda *step: heard.append(step),
    )
    trees, others = (head.booster.dump_model()["tree_info"] for head in (joined, found))
    assert trees == others
    assert found.curves == joined.curves
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[-1] == (40, 40)


def test_a_booster_that_fails_ends_the_others() -> None:
    endless = replace(MEMBERS[0], n_estimators=10**6, early_stopping_rounds=10**6)
    broken = replace(MEMBERS[1], objective="unheard-of")
    with pytest.raises(LightGBMError, match="unheard-of"):
        train_joined_head((endless, broken), SCHEMA, TRAIN, VALIDATION, seed=0, n_threads=2)


def test_whoever_interrupts_a_training_does_not_wait_for_its_end() -> None:
    endless = replace(MEMBERS[0], n_estimators=10**6, early_stopping_rounds=10**6)

    def interrupt(done: int, most: int) -> None:
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_joined_head((endless,) * 3, SCHEMA, TRAIN, VALIDATION, seed=0, n_threads=2, on_iteration=interrupt)


def test_a_mean_varies_less_than_its_boosters() -> None:
    members = (MEMBERS[0],) * 4
    single, mean = (
        np.std([train(chosen, seed=seed).booster.predict(VALIDATION.features) for seed in range(6)], axis=0).mean()
        / np.mean([train(chosen, seed=seed).booster.predict(VALIDATION.features).std() for seed in range(6)])
        for chosen in (members[:1], members)
    )
    assert mean < 0.75 * single


def test_progress_counts_the_trees_of_all_boosters() -> None:
    heard: list[tuple[int, int]] = []
    train_joined_head(
        MEMBERS, SCHEMA, TRAIN, VALIDATION, seed=0, n_threads=1, on_iteration=lambda *step: heard.append(step)
    )
    assert heard[0] == (1, 40)
    assert heard[-1] == (40, 40)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_a_single_binary_booster_scores_as_a_plain_sum(tmp_path: Path) -> None:
    """Its own prediction would be a probability, which is no sum of leaves and no part of a version."""
    found = train(MEMBERS[1:2])
    alone = train_head(MEMBERS[1], SCHEMA, TRAIN, VALIDATION, seed=0, n_threads=1).booster
    raw = np.asarray(alone.predict(VALIDATION.features, raw_score=True))
    spread = raw.reshape(80, 12).std(axis=1).mean()
    np.testing.assert_allclose(found.booster.predict(VALIDATION.features), raw / spread, rtol=1e-5)
    ranker = Ranker(SCHEMA, found.booster, found.booster)
    ranker.save(tmp_path)
    loaded = Ranker.load(tmp_path).accelerate()
    assert set(loaded.forests) == {"relevance", "rating"}
    assert np.array_equal(loaded.score(VALIDATION.features), ranker.score(VALIDATION.features))


def test_a_booster_that_orders_nothing_counts_nothing() -> None:
    flat = replace(MEMBERS[1], min_data_in_leaf=10_000)
    found = train((MEMBERS[0], flat))
    order = np.argsort(train((MEMBERS[0],)).booster.predict(VALIDATION.features), kind="stable")
    assert np.array_equal(np.argsort(found.booster.predict(VALIDATION.features), kind="stable"), order)


def test_several_boosters_need_query_groups() -> None:
    without = replace(VALIDATION, group_sizes=None)
    with pytest.raises(SchemaMismatchError, match="the validation table has none"):
        train_joined_head(MEMBERS, SCHEMA, replace(TRAIN, group_sizes=None), without, seed=0, n_threads=1)


def test_presets_say_which_boosters_there_are() -> None:
    losses = [member.objective for member in PRESETS["default"].list_members()]
    assert sorted(losses) == ["binary", "binary", "lambdarank", "lambdarank"]
    assert [member.objective for member in PRESETS["original"].list_members()] == ["lambdarank"]


def test_a_recipe_from_before_there_were_several_boosters_means_one() -> None:
    from dataclasses import asdict

    stored = asdict(PRESETS["default"])
    del stored["losses"], stored["n_boosters"]
    assert Preset.from_dict(stored).list_members() == (PRESETS["default"].relevance,)
