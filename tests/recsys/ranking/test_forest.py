"""A forest gives what LightGBM gives, to the last bit, or says that it cannot."""

from collections.abc import Iterator
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.exceptions import SchemaMismatchError, UnsupportedForestError
from recsys.ranking import forest as forest_module
from recsys.ranking.forest import Forest
from recsys.ranking.forest_columns import round_down
from recsys.ranking.forest_kernels import compile_replay
from recsys.ranking.forest_lanes import WIDE

N_FEATURES = 6
CATEGORICAL = 5
QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2, "min_data_in_bin": 1, "deterministic": True}
ODD_VALUES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e-34, 3e38, -3e38, 7.0, 40.0, -1.0, -0.5])


def make_table(rng: np.random.Generator, n_rows: int, *, share_odd: float = 0.0) -> np.ndarray:
    """Numbers, few distinct numbers, mostly zeros, missing numbers, and categories."""
    table = rng.normal(size=(n_rows, N_FEATURES))
    table[:, 1] = rng.integers(0, 4, n_rows)
    table[rng.random(n_rows) < 0.7, 2] = 0.0
    table[rng.random(n_rows) < 0.3, 3] = np.nan
    table[:, CATEGORICAL] = rng.integers(0, 40, n_rows)
    odd = rng.random(table.shape) < share_odd
    table[odd] = rng.choice(ODD_VALUES, size=int(odd.sum()))
    return table.astype(np.float32)


def train(rng: np.random.Generator, n_rows: int = 300, n_trees: int = 12, **params: Any) -> lgb.Booster:
    table = make_table(rng, n_rows)
    noise = rng.normal(size=n_rows)
    signal = np.nan_to_num(table[:, 0] * table[:, 1] + table[:, 2] + table[:, 3]) + (table[:, CATEGORICAL] % 3 == 1)
    labels = signal + 0.3 * noise
    settings = QUIET | {"objective": "regression"} | params
    if settings["objective"] in ("lambdarank", "rank_xendcg"):
        labels = np.clip(np.round(labels), 0, 4)
    elif settings["objective"] == "mape":
        labels = np.abs(labels) + 1
    sizes = [n_rows // 10] * 10 if settings["objective"] in ("lambdarank", "rank_xendcg") else None
    data = lgb.Dataset(table, labels, group=sizes, categorical_feature=[CATEGORICAL], params=settings)
    return lgb.train(settings, data, n_trees)


def largest_difference(booster: lgb.Booster, table: np.ndarray) -> float:
    expected = np.asarray(booster.predict(table, raw_score=True, num_threads=1))
    scores = Forest.from_booster(booster).score(table)
    assert scores.shape == (len(table),)
    return float(np.abs(scores - expected).max())


@pytest.fixture(scope="module", params=sorted({False, WIDE}), ids=["one by one", "together"][: 1 + WIDE], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Add the trees up in every way that the processor at hand can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest_module, "replay", compile_replay(wide=request.param))
        yield


@given(
    seed=st.integers(0, 2**32 - 1),
    objective=st.sampled_from(
        ["regression", "regression_l1", "huber", "quantile", "mape", "lambdarank", "rank_xendcg"]
    ),
    num_leaves=st.sampled_from([2, 3, 7, 31, 255]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    n_rows=st.sampled_from([1, 63, 512, 513, 1200]),
)
@hypothesis_settings(max_examples=60)
def test_any_forest_is_evaluated_exactly(
    seed: int, objective: str, num_leaves: int, use_missing: bool, zero_as_missing: bool, n_rows: int
) -> None:
    rng = np.random.default_rng(seed)
    options = {"use_missing": use_missing, "zero_as_missing": zero_as_missing, "num_leaves": num_leaves}
    booster = train(rng, objective=objective, **options)
    assert largest_difference(booster, make_table(rng, n_rows, share_odd=0.2)) <= 1e-9


@given(seed=st.integers(0, 2**32 - 1), shared=st.sets(st.integers(0, N_FEATURES - 1)))
@hypothesis_settings(max_examples=30)
def test_what_rows_share_changes_nothing(seed: int, shared: set[int]) -> None:
    rng = np.random.default_rng(seed)
    booster = train(rng, num_leaves=31)
    table = make_table(rng, 90, share_odd=0.2)
    table[:, list(shared)] = table[0, list(shared)]
    assert largest_difference(booster, table) <= 1e-9


@given(seed=st.integers(0, 2**32 - 1), fixed=st.sets(st.integers(0, N_FEATURES - 1)))
@hypothesis_settings(max_examples=30)
def test_features_of_the_rows_can_be_encoded_once(seed: int, fixed: set[int]) -> None:
    rng = np.random.default_rng(seed)
    booster = train(rng, num_leaves=31)
    forest = Forest.from_booster(booster, fixed=sorted(fixed))
    table = make_table(rng, 300, share_odd=0.2)
    kept = forest.encode_fixed(table)
    for _ in range(2):
        others = make_table(rng, 300, share_odd=0.2)
        table[:, sorted(set(range(N_FEATURES)) - fixed)] = others[:, sorted(set(range(N_FEATURES)) - fixed)]
        unknown = table.copy()
        unknown[:, sorted(fixed)] = np.nan
        scores = forest.score_codes(forest.encode(unknown, kept))
        assert np.array_equal(scores, booster.predict(table, num_threads=1))


def test_one_row_of_a_user_stands_for_all_titles() -> None:
    rng = np.random.default_rng(3)
    booster = train(rng, num_leaves=31)
    titles, user = make_table(rng, 500), make_table(rng, 1)
    forest = Forest.from_booster(booster, fixed=[0, 2, 5])
    table = np.repeat(user, 500, axis=0)
    table[:, [0, 2, 5]] = titles[:, [0, 2, 5]]
    scores = forest.score_codes(forest.encode(user, forest.encode_fixed(titles)))
    assert np.array_equal(scores, booster.predict(table, num_threads=1))


def test_as_many_rows_as_titles_or_one() -> None:
    forest = Forest.from_booster(train(np.random.default_rng(0)), fixed=[0])
    table = make_table(np.random.default_rng(1), 5)
    with pytest.raises(SchemaMismatchError, match="2 rows where the fixed features have 5"):
        forest.encode(table[:2], forest.encode_fixed(table))


def test_a_deep_forest_of_many_cuts() -> None:
    """Leaves up to the last byte, and more cuts of a feature than a byte counts."""
    rng = np.random.default_rng(0)
    booster = train(rng, n_rows=6000, n_trees=30, num_leaves=256, max_bin=4000)
    forest = Forest.from_booster(booster)
    table = make_table(rng, 1000, share_odd=0.05)
    assert len(forest.columns) > N_FEATURES + 12
    assert np.array_equal(forest.score(table), booster.predict(table, num_threads=1))


def test_what_is_missing_may_go_right_and_left_of_the_same_feature() -> None:
    """Both columns are told apart, and what is missing arrives where LightGBM sends it."""
    booster = train(np.random.default_rng(3), n_rows=2000, n_trees=40)
    forest = Forest.from_booster(booster)
    assert forest.columns.are_twins.any()
    assert (forest.columns.features[1:] == forest.columns.features[:-1])[forest.columns.are_twins[1:] > 0].all()
    table = make_table(np.random.default_rng(4), 1500, share_odd=0.3)
    assert np.array_equal(forest.score(table), booster.predict(table, num_threads=1))


def test_a_forest_without_splits() -> None:
    booster = lgb.train(QUIET | {"objective": "regression"}, lgb.Dataset(np.zeros((50, 3)), np.full(50, 2.5)), 3)
    table = np.ones((4, 3), dtype=np.float32)
    assert np.array_equal(Forest.from_booster(booster).score(table), booster.predict(table))


def test_no_row_is_no_error() -> None:
    booster = train(np.random.default_rng(0))
    assert Forest.from_booster(booster).score(np.empty((0, N_FEATURES), np.float32)).shape == (0,)


def test_trees_after_the_best_iteration_do_not_count() -> None:
    booster = train(np.random.default_rng(0), n_trees=20)
    booster.best_iteration = 7
    table = make_table(np.random.default_rng(1), 40)
    assert np.array_equal(Forest.from_booster(booster).score(table), booster.predict(table, num_iteration=7))


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"objective": "binary"}, "objective 'binary"),
        ({"reg_sqrt": True}, "objective 'regression sqrt'"),
        ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "averages its trees"),
        ({"linear_tree": True}, "linear models in its leaves"),
        ({"objective": "multiclass", "num_class": 3}, "3 classes"),
        ({"num_leaves": 400}, "leaves; at most 256"),
    ],
)
def test_other_forests_are_refused(params: dict[str, Any], complaint: str) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1500, 3))
    labels = rng.integers(0, 3, 1500) if "num_class" in params else (table[:, 0] + rng.normal(size=1500) > 0)
    settings = QUIET | {"objective": "regression"} | params
    booster = lgb.train(settings, lgb.Dataset(table, labels.astype(float), params=settings), 2)
    with pytest.raises(UnsupportedForestError, match=complaint):
        Forest.from_booster(booster)


@pytest.mark.parametrize("table", [np.zeros((2, 5), np.float32), np.zeros((2, N_FEATURES)), np.zeros(6, np.float32)])
def test_other_tables_are_refused(table: np.ndarray) -> None:
    forest = Forest.from_booster(train(np.random.default_rng(0)))
    with pytest.raises(SchemaMismatchError, match="float32 rows of 6 features"):
        forest.score(table)


@given(st.floats(allow_nan=False))
def test_rounding_down_moves_no_float32_to_the_other_side(threshold: float) -> None:
    rounded = round_down(np.array([threshold]))[0]
    assert float(rounded) <= threshold
    with np.errstate(over="ignore"):
        assert float(np.nextafter(rounded, np.float32(np.inf))) > threshold or rounded == np.inf
