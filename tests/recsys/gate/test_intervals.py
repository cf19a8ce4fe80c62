import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recsys.exceptions import DataContractError, SchemaMismatchError
from recsys.gate.intervals import bootstrap_interval, paired_difference

finite = st.floats(0, 1, allow_nan=False)


def test_bootstrap_agrees_with_the_normal_theory() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    interval = bootstrap_interval(values, rng=np.random.default_rng(2))
    half = 1.96 * values.std(ddof=1) / 20
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert (interval.n, interval.level) == (400, 0.95)


def test_bootstrap_is_seeded_and_leaves_out_nan() -> None:
    values = np.array([0.1, 0.9, np.nan, 0.4])
    first, second = (bootstrap_interval(values, rng=np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first.n == 3


def test_bootstrap_in_pieces_makes_all_resamples() -> None:
    # More cells than fit at once, so that the resamples come in several pieces.
    interval = bootstrap_interval(np.full(1_500_000, 0.25), rng=np.random.default_rng(0), n_resamples=3)
    assert (interval.low, interval.high) == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([np.nan], 0.95), ([1.0], 1.0), ([1.0], 0.0)])
def test_bootstrap_refuses(values: list[float], level: float) -> None:
    with pytest.raises(DataContractError):
        bootstrap_interval(values, rng=np.random.default_rng(0), level=level)


def test_paired_difference_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t = 3.4641 with 2 degrees of freedom.
    result = paired_difference(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert (result.mean, result.t, result.n) == (pytest.approx(2.0), pytest.approx(2 * 3**0.5), 3)
    assert result.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert result.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    assert result.p_value == pytest.approx(0.0742, abs=1e-4)
    assert (result.challenger_mean, result.champion_mean) == (4.0, 2.0)


def test_equal_vectors_are_not_different() -> None:
    values = np.array([0.1, 0.3, 0.7])
    result = paired_difference(values, values)
    assert (result.mean, result.low, result.high, result.t, result.p_value) == (0.0, 0.0, 0.0, None, 1.0)


def test_a_constant_shift_is_certain_in_spite_of_rounding() -> None:
    champion = np.array([0.1, 0.2, 0.3, 0.7])
    result = paired_difference(champion + 0.1, champion)
    assert (result.t, result.p_value) == (None, 0.0)
    assert result.low == result.high == pytest.approx(0.1)


def test_users_with_nan_on_either_side_are_dropped() -> None:
    ours, theirs = np.array([1.0, np.nan, 3.0, 5.0]), np.array([1.0, 2.0, np.nan, 4.0])
    result = paired_difference(ours, theirs)
    assert (result.n, result.mean, result.challenger_mean) == (2, 0.5, 3.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "error"),
    [
        ([1.0], [2.0], DataContractError),
        ([1.0, np.nan], [1.0, 1.0], DataContractError),
        ([1.0], [1, 2], SchemaMismatchError),
    ],
)
def test_too_little_to_compare(ours: list[float], theirs: list[float], error: type[Exception]) -> None:
    with pytest.raises(error):
        paired_difference(np.array(ours), np.array(theirs))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=30))
def test_agrees_with_a_one_sample_test_and_is_antisymmetric(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs).T
    result, mirrored = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert mirrored.mean == pytest.approx(-result.mean)
    assert (mirrored.low, mirrored.high) == pytest.approx((-result.high, -result.low))
    assert mirrored.p_value == pytest.approx(result.p_value)
    assert result.low <= result.mean <= result.high
    if np.ptp(ours - theirs) > 1e-9:
        assert result.p_value == pytest.approx(stats.ttest_1samp(ours - theirs, 0.0).pvalue, abs=1e-9)
