"""Several boosters as one."""

import lightgbm as lgb
import numpy as np
import pytest

from recsys.exceptions import ConfigurationError
from recsys.ranking.ensemble import compute_importance, compute_spread, join_boosters
from recsys.ranking.forest import Forest
from recsys.ranking.forest_checks import check_forest_text
from recsys.ranking.forest_cost import count_mean_splits

SETTINGS = {"verbosity": -1, "num_threads": 1, "num_leaves": 11, "min_data_in_leaf": 5}


def build_rows(n_users: int = 60, n_candidates: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(n_users * n_candidates, 3)).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(features[:, 0]) + 0.5 * rng.normal(size=len(features)) > 0.7).astype(np.float64)
    return features, labels, np.full(n_users, n_candidates)


FEATURES, LABELS, SIZES = build_rows()


@pytest.fixture(scope="module")
def boosters() -> list[lgb.Booster]:
    """One of each loss, the second stopped early."""
    found = []
    for loss in ("lambdarank", "binary"):
        settings = SETTINGS | {"objective": loss, "metric": "ndcg", "eval_at": [10]}
        data = lgb.Dataset(FEATURES, LABELS, group=SIZES, params=settings)
        held_out = data.create_valid(FEATURES[:240, [1, 0, 2]], LABELS[:240], group=SIZES[:20])
        stop = lgb.early_stopping(3, verbose=False)
        found.append(lgb.train(settings, data, 30, valid_sets=[held_out], callbacks=[stop]))
    return found


def test_the_joined_booster_scores_the_weighted_sum(boosters: list[lgb.Booster]) -> None:
    joined = join_boosters(boosters, [0.7, 1 / 3])
    parts = [booster.predict(FEATURES, raw_score=True, num_threads=1) for booster in boosters]
    np.testing.assert_allclose(joined.predict(FEATURES), 0.7 * parts[0] + parts[1] / 3, rtol=1e-12, atol=1e-12)
    assert joined.num_trees() == sum(booster.best_iteration for booster in boosters)
    assert count_mean_splits(joined) == pytest.approx(sum(map(count_mean_splits, boosters)))


def test_contributions_of_the_joined_booster_add_up_to_its_score(boosters: list[lgb.Booster]) -> None:
    joined = join_boosters(boosters, [0.7, 1 / 3])
    contributions = joined.predict(FEATURES, pred_contrib=True)
    np.testing.assert_allclose(contributions.sum(axis=1), joined.predict(FEATURES), rtol=1e-9, atol=1e-9)
    parts = [booster.predict(FEATURES, pred_contrib=True) for booster in boosters]
    np.testing.assert_allclose(contributions, 0.7 * parts[0] + parts[1] / 3, rtol=1e-9, atol=1e-9)


def test_the_joined_booster_is_an_ordinary_model(boosters: list[lgb.Booster]) -> None:
    """Written, checked, read again and taken apart it gives the same doubles."""
    joined = join_boosters(boosters, [0.7, 1 / 3])
    text = joined.model_to_string()
    assert check_forest_text(text) == joined.num_trees()
    again = lgb.Booster(model_str=text)
    assert np.array_equal(again.predict(FEATURES), joined.predict(FEATURES))
    assert again.model_to_string() == text
    assert np.array_equal(Forest.from_booster(joined).score(FEATURES), joined.predict(FEATURES, num_threads=1))


def test_trees_without_a_split_are_joined_too(boosters: list[lgb.Booster]) -> None:
    data = lgb.Dataset(FEATURES, LABELS, group=SIZES)
    constant = lgb.train(SETTINGS | {"objective": "binary", "min_data_in_leaf": 10_000}, data, 2)
    joined = join_boosters([boosters[0], constant], [1.0, 2.0])
    expected = boosters[0].predict(FEATURES, raw_score=True) + 2 * constant.predict(FEATURES, raw_score=True)
    np.testing.assert_allclose(joined.predict(FEATURES), expected, rtol=1e-12)
    assert check_forest_text(joined.model_to_string()) == joined.num_trees()


def test_boosters_of_other_features_are_refused(boosters: list[lgb.Booster]) -> None:
    other = lgb.train(SETTINGS, lgb.Dataset(FEATURES[:, :2], LABELS), 1)
    with pytest.raises(ConfigurationError, match="2 boosters with 2 factors cannot be joined"):
        join_boosters([boosters[0], other], [1.0, 1.0])
    with pytest.raises(ConfigurationError, match="2 boosters with 1 factors"):
        join_boosters(boosters, [1.0])


def test_the_spread_is_that_within_users() -> None:
    scores = np.array([100.0, 102.0, 7.0, 7.0, 7.0, -1.0], dtype=np.float32)
    assert compute_spread(scores, np.array([2, 3, 1])) == pytest.approx(1 / 3)


def test_importance_is_the_mean_of_shares(boosters: list[lgb.Booster]) -> None:
    found = compute_importance(boosters)
    gains = [booster.feature_importance("gain") for booster in boosters]
    expected = np.mean([gain / gain.sum() for gain in gains], axis=0)
    np.testing.assert_allclose(list(found.values()), expected)
    assert sum(found.values()) == pytest.approx(1)
