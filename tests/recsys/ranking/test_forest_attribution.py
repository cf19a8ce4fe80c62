"""Groups of features get the Shapley values of a game whose coalitions know the features of their groups."""

import lightgbm as lgb
import numpy as np
import pytest

from recsys.ranking.forest import Forest
from recsys.ranking.forest_attribution import weigh_coalitions
from tests.recsys.ranking.test_forest import CATEGORICAL, N_FEATURES, make_table, train


@pytest.mark.parametrize("fixed", [(), (1, CATEGORICAL)], ids=["all fresh", "some fixed"])
def test_single_features_as_groups_get_what_lightgbm_gives_them(fixed: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    booster = train(rng, n_rows=500, n_trees=25, num_leaves=20)
    table = make_table(rng, 700, share_odd=0.1)
    expected = np.asarray(booster.predict(table, pred_contrib=True, num_threads=1))[:, :-1]
    found = Forest.from_booster(booster, fixed).attribute(table, range(N_FEATURES))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_a_group_has_what_its_features_bring_together() -> None:
    """Two features that only matter together: alone each of them knows nothing, as a group they know all."""
    rng = np.random.default_rng(5)
    table = rng.integers(0, 2, (2000, 3)).astype(np.float32)
    labels = ((table[:, 0] != table[:, 1]) * 4).astype(np.float64)
    settings = {"objective": "regression", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1, "num_leaves": 8}
    booster = lgb.train(settings | {"learning_rate": 1.0}, lgb.Dataset(table, labels, params=settings), 3)
    forest = Forest.from_booster(booster)
    rows = table[:50]
    together, rest = forest.attribute(rows, (0, 0, 1)).T
    mean = float(np.mean(np.asarray(booster.predict(rows, pred_contrib=True))[:, -1]))
    np.testing.assert_allclose(together, forest.score(rows) - mean, atol=1e-9)
    np.testing.assert_allclose(rest, 0.0, atol=1e-9)


def test_what_groups_contribute_adds_up_to_the_score_less_the_mean() -> None:
    rng = np.random.default_rng(7)
    booster = train(rng, n_trees=30, num_leaves=31)
    table = make_table(rng, 90, share_odd=0.2)
    mean = np.asarray(booster.predict(table, pred_contrib=True, num_threads=1))[:, -1]
    found = Forest.from_booster(booster).attribute(table, (0, 1, 0, 2, 1, 2))
    assert found.shape == (90, 3)
    np.testing.assert_allclose(found.sum(axis=1) + mean, booster.predict(table, num_threads=1), atol=1e-9)


def test_a_tree_without_a_split_contributes_nothing() -> None:
    booster = train(np.random.default_rng(1), n_trees=2, min_data_in_leaf=10_000)
    found = Forest.from_booster(booster).attribute(make_table(np.random.default_rng(2), 5), range(N_FEATURES))
    np.testing.assert_allclose(found, 0.0, atol=1e-15)


@pytest.mark.parametrize(
    "groups", [(0,) * (N_FEATURES - 1), (0,) * N_FEATURES + (1,), (8,) * N_FEATURES, (-1,) * N_FEATURES]
)
def test_wrong_groups_are_refused(groups: tuple[int, ...]) -> None:
    forest = Forest.from_booster(train(np.random.default_rng(1), n_trees=2))
    with pytest.raises(ValueError, match="one of 8 groups, from 0 on, for each of 6 features"):
        forest.attribute(make_table(np.random.default_rng(2), 5), groups)


@pytest.mark.parametrize("n_groups", range(1, 6))
def test_a_game_in_which_each_player_adds_the_same_gives_each_the_same(n_groups: int) -> None:
    sizes = np.array([coalition.bit_count() for coalition in range(1 << n_groups)], dtype=np.float64)
    np.testing.assert_allclose(sizes @ weigh_coalitions(n_groups), 1.0)
