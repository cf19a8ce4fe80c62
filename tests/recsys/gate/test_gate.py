import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recsys.evaluation.plots import plot_differences
from recsys.exceptions import DataContractError, SchemaMismatchError
from recsys.gate.decision import Action, Decision, Outcome
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard

GATE = PromotionGate()
N_USERS = 400


def make_scores(
    lift: float, *, noise: float = 0.05, n_users: int = N_USERS, seed: int = 0
) -> tuple[Scorecard, Scorecard]:
    """Make a challenger whose NDCG differs by exactly `lift` on average, and its champion."""
    rng = np.random.default_rng(seed)
    champion = rng.uniform(0.1, 0.5, n_users)
    differences = rng.normal(0, noise, n_users)
    differences += lift - differences.mean()
    ids = rng.permutation(10 * n_users)[:n_users]
    return Scorecard(ids, champion + differences), Scorecard(ids, champion)


@pytest.mark.parametrize(
    ("lift", "noise", "outcome", "action"),
    [
        (0.02, 0.05, Outcome.Better, Action.Promote),
        (-0.0001, 0.01, Outcome.NotDifferent, Action.Promote),
        (-0.02, 0.05, Outcome.Worse, Action.Keep),
        (-0.002, 0.2, Outcome.Inconclusive, Action.Keep),
        # Significantly worse is kept out even where the whole interval lies above the margin.
        (-0.0008, 0.002, Outcome.Worse, Action.Keep),
    ],
)
def test_outcomes(lift: float, noise: float, outcome: Outcome, action: Action) -> None:
    challenger, champion = make_scores(lift, noise=noise)
    decision = GATE.decide(challenger, champion)
    assert (decision.outcome, decision.action, decision.promotes) == (outcome, action, action is Action.Promote)
    assert decision.primary is not None
    assert decision.primary.mean == pytest.approx(lift)
    assert decision.primary.p_value == pytest.approx(stats.ttest_rel(challenger.ndcg, champion.ndcg).pvalue)
    assert decision.criteria[0].margin == pytest.approx(0.01 * champion.ndcg.mean())
    assert f"{lift:+.4f}" in decision.reason
    assert "400 users" in decision.reason


def test_a_challenger_with_the_same_results_is_promoted_as_not_different() -> None:
    _, champion = make_scores(0.0)
    decision = GATE.decide(champion, champion)
    assert (decision.outcome, decision.action) == (Outcome.NotDifferent, Action.Promote)
    assert decision.primary is not None
    assert (decision.primary.low, decision.primary.high, decision.primary.p_value) == (0.0, 0.0, 1.0)


def test_a_constant_shift_is_decided_by_its_sign() -> None:
    _, champion = make_scores(0.0)
    for shift, outcome in ((0.01, Outcome.Better), (-0.01, Outcome.Worse)):
        assert GATE.decide(replace(champion, ndcg=champion.ndcg + shift), champion).outcome is outcome


@pytest.mark.parametrize("against_champion", [True, False])
def test_too_few_users_with_targets_keep(against_champion: bool) -> None:
    challenger, other = make_scores(0.3, n_users=60)
    challenger.ndcg[:31] = np.nan
    champion, popularity = (other, None) if against_champion else (None, other)
    decision = GATE.decide(challenger, champion, popularity)
    assert (decision.outcome, decision.action, decision.primary) == (Outcome.NotEnoughEvidence, Action.Keep, None)
    assert "fewer than 30" in decision.reason
    challenger.ndcg[0] = 0.9
    assert GATE.decide(challenger, champion, popularity).promotes


def test_the_first_model_must_beat_popularity() -> None:
    better, popularity = make_scores(0.02)
    decision = GATE.decide(better, None, popularity)
    assert (decision.outcome, decision.action, decision.reference) == (
        Outcome.BeatsPopularity,
        Action.Promote,
        "popularity",
    )
    unclear, popularity = make_scores(0.001)
    decision = GATE.decide(unclear, None, popularity)
    assert (decision.outcome, decision.action) == (Outcome.NoBetterThanPopularity, Action.Keep)
    with pytest.raises(DataContractError, match="popularity"):
        GATE.decide(better, None)


def test_popularity_is_not_looked_at_when_there_is_a_champion() -> None:
    challenger, champion = make_scores(0.02)
    perfect = replace(champion, ndcg=np.ones(N_USERS))
    assert GATE.decide(challenger, champion, perfect) == GATE.decide(challenger, champion)


@pytest.mark.parametrize(("rise", "promoted"), [(0.2, False), (0.004, True), (-0.2, True)])
def test_the_rating_error_vetoes_only_what_is_significant_and_material(rise: float, promoted: bool) -> None:
    challenger, champion = make_scores(0.02)
    errors = np.random.default_rng(3).uniform(0.5, 1.5, N_USERS)
    noise = np.random.default_rng(4).normal(0, 0.01, N_USERS)
    champion = replace(champion, rating_error=errors)
    challenger = replace(challenger, rating_error=errors + rise + noise - noise.mean())
    decision = GATE.decide(challenger, champion)
    assert decision.promotes is promoted
    assert decision.criteria[1].passed is promoted
    assert decision.criteria[1].difference is not None
    assert decision.criteria[1].difference.p_value < 0.05
    if not promoted:
        assert decision.outcome is Outcome.WorseRatings
        assert "but rating error" in decision.reason


def test_better_ratings_cannot_rescue_worse_lists() -> None:
    challenger, champion = make_scores(-0.02)
    errors = np.ones(N_USERS)
    decision = GATE.decide(replace(challenger, rating_error=errors / 2), replace(champion, rating_error=errors))
    assert decision.outcome is Outcome.Worse


def test_ratings_of_too_few_users_do_not_veto() -> None:
    challenger, champion = make_scores(0.02)
    errors = np.full(N_USERS, np.nan)
    errors[:5] = 1.0
    decision = GATE.decide(replace(challenger, rating_error=errors * 3), replace(champion, rating_error=errors))
    assert decision.promotes
    assert decision.criteria[1].difference is None


def test_models_must_be_scored_on_the_same_users() -> None:
    challenger, champion = make_scores(0.02)
    with pytest.raises(SchemaMismatchError, match="2 users"):
        GATE.decide(challenger, replace(champion, user_ids=np.append(champion.user_ids[:-1], 99_999)))
    with pytest.raises(SchemaMismatchError, match="twice"):
        Scorecard(np.array([1, 1]), np.zeros(2))
    with pytest.raises(SchemaMismatchError, match="rating_error"):
        Scorecard(np.array([1, 2]), np.zeros(2), rating_error=np.zeros(3))


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0.0}, {"alpha": 1.0}, {"margin": -0.1}, {"rating_margin": -1}, {"min_test_users": 1}]
)
def test_senseless_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataContractError):
        PromotionGate(**wrong)


@pytest.mark.parametrize("lift", [0.02, 0.0, -0.02])
def test_decisions_survive_json(lift: float) -> None:
    challenger, champion = make_scores(lift)
    errors = np.ones(N_USERS)
    decision = GATE.decide(replace(challenger, rating_error=errors), replace(champion, rating_error=errors))
    stored = json.dumps(decision.to_dict(), allow_nan=False)
    assert Decision.from_dict(json.loads(stored)) == decision
    assert decision.to_metrics()["gate_ndcg_at_10_lift"] == pytest.approx(lift)
    assert all(np.isfinite(list(decision.to_metrics().values())))


per_user = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=30, max_size=60)


@settings(max_examples=60, deadline=None)
@given(per_user, st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_users(pairs: list[tuple[float, float]], random: object) -> None:
    ours, theirs = np.array(pairs).T
    ids = np.arange(len(pairs)) * 7
    first = GATE.decide(Scorecard(ids, ours), Scorecard(ids, theirs))
    left, right = list(range(len(pairs))), list(range(len(pairs)))
    random.shuffle(left)  # type: ignore[attr-defined]
    random.shuffle(right)  # type: ignore[attr-defined]
    second = GATE.decide(Scorecard(ids[left], ours[left]), Scorecard(ids[right], theirs[right]))
    assert first.primary is not None
    assert second.primary is not None
    assert second.outcome is first.outcome
    assert second.primary.mean == pytest.approx(first.primary.mean, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(per_user)
def test_two_models_are_never_each_significantly_better(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs).T
    ids = np.arange(len(pairs))
    one, other = Scorecard(ids, ours), Scorecard(ids, theirs)
    outcomes = {GATE.decide(one, other).outcome, GATE.decide(other, one).outcome}
    assert (Outcome.Better in outcomes) == (Outcome.Worse in outcomes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.2, 1), min_size=30, max_size=60), st.floats(0.05, 0.2))
def test_a_challenger_that_is_worse_for_everyone_is_never_promoted(scores: list[float], loss: float) -> None:
    champion = np.array(scores)
    ids = np.arange(len(scores))
    assert not GATE.decide(Scorecard(ids, champion - loss), Scorecard(ids, champion)).promotes


def test_equal_models_are_called_different_in_five_percent_of_trials() -> None:
    """1,000 seeded A/A trials on sparse, bounded per-user scores; 3.6..6.4 % is two binomial standard errors."""
    rng = np.random.default_rng(2026)
    ids, trials, called = np.arange(200), 1_000, 0
    for _ in range(trials):
        taste = rng.beta(0.4, 2.0, ids.size)
        ours, theirs = (np.where(rng.random(ids.size) < 0.6, taste * rng.random(ids.size), 0.0) for _ in range(2))
        outcome = GATE.decide(Scorecard(ids, ours), Scorecard(ids, theirs)).outcome
        called += outcome in {Outcome.Better, Outcome.Worse}
    assert 0.036 <= called / trials <= 0.064


def test_the_plot_shows_the_interval_and_the_margin() -> None:
    challenger, champion = make_scores(0.02)
    decision = GATE.decide(challenger, champion)
    figure = plot_differences(challenger.ndcg, champion.ndcg, decision.criteria[0], decision=decision)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["95 % interval", "mean +0.0200", "margin"]
    assert figure.axes[0].get_title(loc="left") == "promote: better"


def test_the_plot_of_too_few_users_has_no_interval() -> None:
    challenger, champion = make_scores(0.02, n_users=5)
    decision = GATE.decide(challenger, champion)
    figure = plot_differences(challenger.ndcg, champion.ndcg, decision.criteria[0], decision=decision)
    assert figure.axes[0].get_legend() is None


def test_generated_users_do_not_count_in_the_verdict_unless_a_setting_says_so() -> None:
    challenger, champion = make_scores(0.0, noise=0.02)
    generated = np.arange(N_USERS) < N_USERS // 2
    flattered = replace(challenger, ndcg=np.where(generated, 1.0, champion.ndcg), generated=generated)
    champion = replace(champion, generated=generated)
    decision = GATE.decide(flattered, champion.arrange(np.sort(champion.user_ids)), anchor=champion)
    assert decision.outcome is Outcome.NotDifferent
    assert "200 users" in decision.reason
    counted = replace(GATE, generated_users=True).decide(flattered, champion)
    assert counted.outcome is Outcome.Better
    assert "400 users" in counted.reason
    assert (decision.gate["generated_users"], counted.gate["generated_users"]) == (0, 1)


def test_too_few_real_users_are_not_enough_evidence() -> None:
    challenger, champion = make_scores(0.02)
    generated = np.arange(N_USERS) >= 29
    decision = GATE.decide(replace(challenger, generated=generated), replace(champion, generated=generated))
    assert decision.outcome is Outcome.NotEnoughEvidence
