"""A chain of promotions that each lose a little is measured from where it began."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from recsys.gate.anchor import select_anchor
from recsys.gate.decision import ANCHORED, Decision, Outcome
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard

NOISE = np.random.default_rng(4).normal(0.0, 0.01, 600)
ANCHOR = Scorecard(np.arange(600), np.random.default_rng(3).uniform(0.2, 0.8, 600))


def shift(share: float, seed: int = 0) -> Scorecard:
    """Make a model whose mean differs from the anchor's by a share, with noise that adds nothing on average."""
    noise = np.random.default_rng(seed).permutation(NOISE - NOISE.mean())
    return replace(ANCHOR, ndcg=ANCHOR.ndcg + noise + share * ANCHOR.ndcg.mean())


def decide(share: float, champion: float, anchor: Scorecard | None = ANCHOR) -> Decision:
    return PromotionGate().decide(shift(share, 1), shift(champion, 2), anchor=anchor)


def find_drift(decision: Decision) -> Any:
    return next(criterion for criterion in decision.criteria if criterion.name == ANCHORED)


def test_a_step_within_the_margin_is_refused_where_the_chain_would_leave_it() -> None:
    # The champion has lost 0.9 % since the anchor: alone with it, another 0.1 % would pass.
    assert decide(-0.01, -0.009, anchor=None).outcome is Outcome.NotDifferent
    decision = decide(-0.01, -0.009)
    assert (decision.outcome, decision.promotes) == (Outcome.Drifted, False)
    assert find_drift(decision).difference.mean == pytest.approx(-0.01 * ANCHOR.ndcg.mean())
    assert "but since the anchor NDCG@10 changed by" in decision.reason


def test_a_step_near_the_anchor_passes_and_shows_the_drift() -> None:
    decision = decide(-0.003, -0.002)
    assert decision.outcome is Outcome.NotDifferent
    assert find_drift(decision).passed
    assert decision.to_metrics()[f"gate_{ANCHORED}_lift"] == pytest.approx(-0.003 * ANCHOR.ndcg.mean())
    assert Decision.from_dict(decision.to_dict()) == decision


def test_what_is_better_than_the_champion_is_not_held_back() -> None:
    decision = decide(-0.011, -0.02)
    assert decision.outcome is Outcome.Better
    assert decision.promotes
    assert "cannot rule out" in find_drift(decision).sentence


def test_without_enough_users_the_anchor_says_nothing() -> None:
    few = replace(ANCHOR, ndcg=np.where(np.arange(600) < 20, ANCHOR.ndcg, np.nan))
    assert decide(-0.003, -0.002, anchor=few).promotes


@dataclass(frozen=True)
class Row:
    challenger_version: int | None
    champion_version: int | None
    action: str = "promote"
    actor: str = "gate"
    evidence: dict[str, Any] = field(default_factory=dict)


BETTER = decide(0.03, 0.0, anchor=None).to_dict()
EQUAL = decide(0.0, 0.0).to_dict()
# Better than a champion that had drifted, and still below the anchor.
RECOVERED = decide(-0.005, -0.02).to_dict()
FIRST = Row(1, None, evidence=PromotionGate().decide(shift(0.1), None, ANCHOR).to_dict())


@pytest.mark.parametrize(
    ("rows", "champion", "anchor"),
    [
        ([], None, None),
        ([], 7, 7),
        ([FIRST], 1, 1),
        ([FIRST, Row(2, 1, evidence=EQUAL), Row(3, 2, evidence=EQUAL)], 3, 1),
        ([FIRST, Row(2, 1, evidence=EQUAL), Row(3, 2, evidence=BETTER), Row(4, 3, evidence=EQUAL)], 4, 3),
        ([FIRST, Row(2, 1, evidence=EQUAL), Row(3, 2, action="keep", evidence=BETTER)], 2, 1),
        ([FIRST, Row(2, 1, evidence=EQUAL), Row(3, 2, evidence=RECOVERED)], 3, 1),
        # A user answers for a version promoted by hand.
        ([FIRST, Row(2, 1, actor="user:ann"), Row(3, 2, evidence=EQUAL)], 3, 2),
        # What the gate proposed and a user approved goes on with the chain.
        ([FIRST, Row(2, 1, actor="user:ann", evidence=EQUAL), Row(3, 2, evidence=EQUAL)], 3, 1),
        # What a rollback restores has its own anchor again, and chains go on from there.
        ([FIRST, Row(2, 1, evidence=BETTER), Row(1, 2, action="rollback")], 1, 1),
        (
            [
                FIRST,
                Row(2, 1, evidence=EQUAL),
                Row(3, 2, evidence=BETTER),
                Row(2, 3, action="rollback"),
                Row(4, 2, evidence=EQUAL),
            ],
            4,
            1,
        ),
        # The alias was set before there was a ledger.
        ([Row(6, 5, evidence=EQUAL)], 6, 5),
    ],
)
def test_the_anchor_is_where_the_chain_began(rows: list[Row], champion: int | None, anchor: int | None) -> None:
    assert select_anchor(rows, champion) == anchor
