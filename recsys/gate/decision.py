"""What the gate decided, with every number it stood on, in a form that JSON can keep for years."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from recsys.gate.intervals import PairedDifference

# Name of the criterion that measures the drift since the anchor.
ANCHORED: Final = "ndcg_at_10_since_anchor"


class Action(StrEnum):
    """What happens to the alias `production`."""

    Promote = "promote"
    Keep = "keep"


class Outcome(StrEnum):
    """Why it happens; the first three promote."""

    Better = "better"
    NotDifferent = "not_different"
    BeatsPopularity = "beats_popularity"
    Worse = "worse"
    Inconclusive = "inconclusive"
    NotEnoughEvidence = "not_enough_evidence"
    NoBetterThanPopularity = "no_better_than_popularity"
    Drifted = "drifted"
    WorseRatings = "worse_ratings"
    GuardrailFailed = "guardrail_failed"
    AlreadyInProduction = "already_in_production"
    OlderData = "older_data"


@dataclass(frozen=True)
class Criterion:
    """A paired comparison on one metric.

    Parameters
    ----------
    name
        The metric, as in `recsys.gate.metrics`; `ANCHORED` for the primary one against the anchor.
    difference
        Challenger minus reference; None where too few users allow a comparison.
    margin
        The difference in the metric's own units that still counts as equal, at least 0.
    passed
        Whether the criterion allows a promotion.
    sentence
        The same in words.
    """

    name: str
    difference: PairedDifference | None
    margin: float
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Guardrail:
    """A limit that can turn a yes into a no, never the other way round; None where it was not measured."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True)
class Decision:
    """A verdict of the gate.

    Parameters
    ----------
    action, outcome
        What to do, and the case that led to it.
    reason
        One sentence for users, with the deciding numbers.
    reference
        Whom the challenger was compared with: `champion`, or `popularity` where there is no champion.
    criteria
        The primary criterion first.
    guardrails
        All that were looked at, also those that passed.
    gate
        The settings of the gate, fixed before the data were seen.
    """

    action: Action
    outcome: Outcome
    reason: str
    reference: str
    criteria: tuple[Criterion, ...]
    guardrails: tuple[Guardrail, ...]
    gate: Mapping[str, float]

    @property
    def promotes(self) -> bool:
        """Whether the challenger takes over."""
        return self.action is Action.Promote

    @property
    def primary(self) -> PairedDifference | None:
        """The comparison on the primary metric; None where there were too few users for any."""
        return self.criteria[0].difference

    def to_metrics(self) -> dict[str, float]:
        """Return the numbers that a metrics store can hold, by name."""
        numbers = {"gate_promote": float(self.promotes), "gate_margin": self.criteria[0].margin}
        for criterion in self.criteria:
            if criterion.difference is not None:
                found = {**asdict(criterion.difference), "lift": criterion.difference.mean}
                kept = ("lift", "low", "high", "t", "p_value", "n", "challenger_mean", "champion_mean")
                numbers |= {f"gate_{criterion.name}_{key}": float(found[key]) for key in kept if found[key] is not None}
        return numbers

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form without NaN or infinity, which PostgreSQL's JSONB refuses."""
        return {
            "action": self.action.value,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "reference": self.reference,
            "criteria": [asdict(criterion) for criterion in self.criteria],
            "guardrails": [asdict(guardrail) for guardrail in self.guardrails],
            "gate": dict(self.gate),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Decision":
        """Read back what `to_dict` wrote."""
        return cls(
            action=Action(stored["action"]),
            outcome=Outcome(stored["outcome"]),
            reason=stored["reason"],
            reference=stored["reference"],
            criteria=tuple(_read_criterion(criterion) for criterion in stored["criteria"]),
            guardrails=tuple(Guardrail(**guardrail) for guardrail in stored["guardrails"]),
            gate=dict(stored["gate"]),
        )


def _read_criterion(stored: Mapping[str, Any]) -> Criterion:
    difference = stored["difference"]
    return Criterion(**{**stored, "difference": None if difference is None else PairedDifference(**difference)})
