"""Which promotions wait for a person."""

import numpy as np
import pytest

from recsys.gate.approval import Approval, requires_approval
from recsys.gate.decision import Outcome
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard

USERS = np.arange(400)
CHAMPION = np.random.default_rng(0).uniform(0.2, 0.6, len(USERS))
NOISE = np.random.default_rng(1).normal(0, 0.005, len(USERS))


@pytest.mark.parametrize(
    ("lift", "outcome", "asked"),
    [
        (0.05, Outcome.Better, {Approval.Always}),
        (0.0, Outcome.NotDifferent, {Approval.Always, Approval.IfClose}),
        (-0.05, Outcome.Worse, set()),
    ],
)
def test_a_person_is_asked_about_promotions_alone(lift: float, outcome: Outcome, asked: set[Approval]) -> None:
    challenger = Scorecard(USERS, CHAMPION + lift + NOISE - NOISE.mean())
    decision = PromotionGate().decide(challenger, Scorecard(USERS, CHAMPION))
    assert decision.outcome is outcome
    assert {mode for mode in Approval if requires_approval(decision, mode)} == asked
