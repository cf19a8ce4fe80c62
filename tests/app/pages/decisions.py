"""Decisions of the gate over made-up users."""

import numpy as np

from recsys.gate.decision import Decision
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard


def decide(lift: float) -> Decision:
    rng = np.random.default_rng(0)
    champion = rng.uniform(0.1, 0.5, 200)
    challenger = champion + lift + rng.normal(0, 0.01, 200)
    return PromotionGate().decide(Scorecard(np.arange(200), challenger), Scorecard(np.arange(200), champion))
