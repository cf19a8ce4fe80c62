import numpy as np
import pytest

from recsys.gate.calibration import (
    apply_bootstrap_test,
    apply_gate,
    binomial_interval,
    draw_heavy_tailed,
    draw_trial,
    measure_rates,
    run_chain,
)
from recsys.gate.gate import PromotionGate

PAIRS = draw_heavy_tailed(4_000, np.random.default_rng(1))


@pytest.mark.parametrize("lift", [-0.2, 0.0, 0.25])
def test_trials_have_the_lift_that_they_promise(lift: float) -> None:
    challenger, champion = draw_trial(PAIRS, lift, 400_000, np.random.default_rng(2))
    assert challenger.mean() / champion.mean() - 1 == pytest.approx(lift, abs=0.02)


def test_a_lost_list_is_a_part_of_a_users_result() -> None:
    ones = np.ones((10, 2))
    challenger, champion = draw_trial(ones, -0.3, 100_000, np.random.default_rng(2), n_lists=5)
    assert set(np.round(challenger, 6)) == {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}
    assert challenger.mean() == pytest.approx(0.7, abs=0.01)
    assert (champion == 1.0).all()


def test_an_anchor_ends_a_chain_of_small_losses() -> None:
    rng, common = np.random.default_rng(8), np.random.default_rng(9).uniform(0.3, 0.8, (2_000, 1))
    results = common + np.random.default_rng(10).normal(0.0, 0.02, (2_000, 3))
    chain = {"step": -0.004, "n_steps": 8, "n_users": 800, "rng": rng, "n_lists": 5}
    anchored = [run_chain(PromotionGate(), results, **chain) for _ in range(10)]
    alone = [run_chain(PromotionGate(), results, **chain, anchored=False) for _ in range(10)]
    assert min(anchored) > -0.013
    assert np.median(anchored) >= -0.01
    assert np.median(alone) < -0.013


def test_equal_trials_keep_the_size_of_the_differences() -> None:
    unequal = np.column_stack([np.full(100, 0.8), np.full(100, 0.2)])
    challenger, champion = draw_trial(unequal, 0.0, 10_000, np.random.default_rng(3))
    assert set(np.round(challenger - champion, 6)) == {-0.6, 0.6}
    assert abs((challenger - champion).mean()) < 0.03


def test_the_heavy_tailed_law_is_heavy_tailed() -> None:
    assert PAIRS.shape == (4_000, 3)
    assert (PAIRS == 0).mean() > 0.6
    assert PAIRS.max() > 10 * PAIRS.mean()
    assert PAIRS.max() <= 1
    assert np.corrcoef(PAIRS.T)[0, 1] > 0.2


@pytest.mark.parametrize("n_users", [200, 800])
def test_the_gate_errs_as_rarely_as_it_says(n_users: int) -> None:
    """Seeded; 600 trials place a rate of 5 % within 3.2..6.8 % two times in three standard errors."""
    rng = np.random.default_rng(11)
    gate = apply_gate(PromotionGate())
    equal = measure_rates(gate, PAIRS, lift=0.0, n_users=n_users, n_trials=600, rng=rng)
    assert equal.different.low <= 0.05 <= equal.different.high
    worse = measure_rates(gate, PAIRS, lift=-0.01, n_users=n_users, n_trials=300, rng=rng)
    assert worse.promoted.low <= 0.05
    assert (worse.n_users, worse.lift, worse.promoted.n) == (n_users, -0.01, 300)


def test_the_gate_sees_what_is_large_enough() -> None:
    better = measure_rates(
        apply_gate(PromotionGate()), PAIRS, lift=0.6, n_users=1_000, n_trials=40, rng=np.random.default_rng(5)
    )
    assert better.promoted.mean > 0.9


def test_the_bootstrap_test_of_the_original_calls_equal_models_different() -> None:
    rng = np.random.default_rng(6)
    equal = measure_rates(apply_bootstrap_test(), PAIRS, lift=0.0, n_users=300, n_trials=60, rng=rng)
    assert equal.different.low > 0.3


def test_the_bootstrap_test_of_the_original_decides_as_it_did() -> None:
    rng = np.random.default_rng(7)
    low, high = np.full(50, 0.2), np.full(50, 0.8)
    spread = np.tile([-0.01, 0.01], 25)
    rule = apply_bootstrap_test()
    assert rule(low, low, rng) == (False, True)
    assert rule(high + spread, low + spread, rng) == (True, True)
    assert rule(low + spread, high + spread, rng) == (True, False)
    errors = apply_bootstrap_test(np.median, higher_is_better=False)
    assert errors(low + spread, high + spread, rng) == (True, True)


def test_binomial_interval_holds_the_share() -> None:
    found = binomial_interval(0, 100)
    assert (found.mean, found.low) == (0.0, 0.0)
    assert 0.01 < found.high < 0.05
