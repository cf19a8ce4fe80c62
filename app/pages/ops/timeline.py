"""Decisions as a timeline: lift, interval and margin of each, as coordinates of a drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recsys.exceptions import RecsysError
from recsys.gate.decision import Decision
from recsys.storage.operations import ArrivalDay
from recsys.storage.promotion import LedgerEntry

WIDTH: Final = 360.0
PADDING: Final = 14.0
WORDS: Final = {"promote": "Promoted", "keep": "Champion kept", "rollback": "Rolled back"}


@dataclass(frozen=True)
class IntervalPlot:
    """A paired difference on a line: x coordinates within `WIDTH`, and the numbers themselves."""

    zero: float
    margin_x: float
    low_x: float
    mean_x: float
    high_x: float
    mean: float
    low: float
    high: float
    margin: float


@dataclass(frozen=True)
class ShownDecision:
    """A line of the ledger with the decision of the gate, if it was the gate's, and its drawing."""

    entry: LedgerEntry
    word: str
    decision: Decision | None
    plot: IntervalPlot | None


def show_decisions(entries: Sequence[LedgerEntry]) -> list[ShownDecision]:
    """Arrange lines of the ledger; evidence of another release is shown as far as it can be read."""
    shown = []
    for entry in entries:
        decision = read_decision(entry.evidence)
        plot = draw_decision(decision) if decision is not None else None
        shown.append(ShownDecision(entry, WORDS.get(entry.action, entry.action), decision, plot))
    return shown


def read_decision(evidence: Mapping[str, Any]) -> Decision | None:
    """Read the decision of the gate from the evidence of an entry; None where it is of a person or another release."""
    try:
        return Decision.from_dict(evidence)
    except (KeyError, TypeError, ValueError, RecsysError):
        return None


def draw_decision(decision: Decision) -> IntervalPlot | None:
    """Place lift, interval and margin of a decision on a line; None where nothing was compared."""
    found = decision.primary
    if found is None:
        return None
    margin = decision.criteria[0].margin
    reach = max(abs(found.low), abs(found.high), margin, 1e-9) * 1.1

    def place(value: float) -> float:
        """Return the horizontal place of a difference."""
        return round(WIDTH / 2 + value / reach * (WIDTH / 2 - PADDING), 1)

    return IntervalPlot(
        place(0.0), place(-margin), place(found.low), place(found.mean), place(found.high),
        found.mean, found.low, found.high, margin,
    )  # fmt: skip


def draw_days(days: Sequence[ArrivalDay], name: str) -> list[dict[str, Any]]:
    """Return the columns of a chart over days: x, width, height of 0..60, and the number."""
    if not days:
        return []
    step = WIDTH / len(days)
    most = max(max(getattr(day, name) for day in days), 1)
    return [
        {
            "x": round(place * step + step * 0.1, 1),
            "width": round(step * 0.8, 1),
            "height": round(60 * getattr(day, name) / most, 1),
            "n": getattr(day, name),
            "day": day.day,
        }
        for place, day in enumerate(days)
    ]
