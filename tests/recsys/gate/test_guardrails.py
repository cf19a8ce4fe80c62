from dataclasses import replace

import numpy as np
import pytest

from recsys.gate.decision import Outcome
from recsys.gate.gate import PromotionGate
from recsys.gate.guardrails import GuardrailLimits, check_guardrails
from recsys.gate.scorecard import Scorecard

FACTS = {
    "catalog_coverage": 0.5,
    "popularity_share": 0.4,
    "artifact_bytes": 1e6,
    "splits_per_list": 2e6,
    "feature_values_per_list": 2e5,
    "overlap_at_10": 0.7,
    "short_list_share": 0.0,
    "empty_list_share": 0.0,
}
CHAMPION = Scorecard(np.arange(100), np.full(100, 0.3), facts=FACTS)
BETTER = replace(CHAMPION, ndcg=CHAMPION.ndcg + np.random.default_rng(0).uniform(0.0, 0.02, 100))


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("catalog_coverage", 0.4, 0.39),
        ("popularity_share", 0.5, 0.51),
        ("artifact_bytes", 3e6, 3.1e6),
        ("splits_per_list", 4e6, 4.1e6),
        ("feature_values_per_list", 4e5, 4.1e5),
        ("overlap_at_10", 0.2, 0.19),
        ("short_list_share", 0.01, 0.02),
        ("empty_list_share", 0.0, 0.001),
    ],
)
def test_each_limit_turns_a_yes_into_a_no(name: str, allowed: float, refused: float) -> None:
    gate = PromotionGate()
    assert gate.decide(replace(BETTER, facts={**FACTS, name: allowed}), CHAMPION).outcome is Outcome.Better
    decision = gate.decide(replace(BETTER, facts={**FACTS, name: refused}), CHAMPION)
    assert decision.outcome is Outcome.GuardrailFailed
    assert not decision.promotes
    assert [guardrail.name for guardrail in decision.guardrails if not guardrail.passed] == [name]
    assert f"but {name}" in decision.reason


def test_guardrails_cannot_turn_a_no_into_a_yes() -> None:
    worse = replace(CHAMPION, ndcg=BETTER.ndcg - 0.1, facts={**FACTS, "catalog_coverage": 1.0, "empty_list_share": 1.0})
    assert PromotionGate().decide(worse, CHAMPION).outcome is Outcome.Worse


@pytest.mark.parametrize(("name", "cheap"), [("splits_per_list", 9e5), ("feature_values_per_list", 9e4)])
def test_cheap_lists_never_fail(name: str, cheap: float) -> None:
    tiny = replace(CHAMPION, facts={**FACTS, name: cheap / 100})
    assert PromotionGate().decide(replace(BETTER, facts={**FACTS, name: cheap}), tiny).promotes


@pytest.mark.parametrize(("ours", "theirs"), [(1e4, 1.0), (1.0, 1e4)])
def test_times_decide_nothing(ours: float, theirs: float) -> None:
    slow = replace(BETTER, facts={**FACTS, "scoring_p95_ms": ours})
    decision = PromotionGate().decide(slow, replace(CHAMPION, facts={**FACTS, "scoring_p95_ms": theirs}))
    assert decision == PromotionGate().decide(BETTER, CHAMPION)


def test_lists_are_looked_at_without_a_champion() -> None:
    empty = replace(BETTER, facts={**FACTS, "empty_list_share": 0.2})
    decision = PromotionGate().decide(empty, None, CHAMPION)
    assert decision.outcome is Outcome.GuardrailFailed
    assert len(decision.guardrails) == 2


def test_what_was_not_measured_is_said_and_passes() -> None:
    found = check_guardrails(replace(BETTER, facts={}), CHAMPION, GuardrailLimits())
    assert all(guardrail.passed for guardrail in found)
    assert all("not" in guardrail.sentence for guardrail in found)


@pytest.mark.parametrize(
    ("n_new", "loss", "passed"),
    [(40, 0.1, False), (40, 0.001, True), (29, 0.1, True), (40, -0.1, True)],
)
def test_new_users_must_not_pay(n_new: int, loss: float, passed: bool) -> None:
    arrived = np.arange(100) < n_new
    champion = replace(CHAMPION, arrived=arrived)
    challenger = replace(champion, ndcg=np.where(arrived, CHAMPION.ndcg - loss, 0.9))
    decision = PromotionGate().decide(challenger, champion)
    assert decision.promotes is passed
    assert decision.guardrails[-1].name == "arrived_ndcg_at_10"
    assert decision.guardrails[-1].passed is passed
