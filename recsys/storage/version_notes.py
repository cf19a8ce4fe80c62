"""What a version says in MLflow about the decisions of the ledger: its tags `decision.*` and its description.

Both are computed from all entries about the version, never from the last call alone, so that a repetition of an old
decision cannot overwrite what a newer one left, and a decision by hand adds to the evidence of the gate.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from recsys.gate.decision import Decision

if TYPE_CHECKING:
    from recsys.storage.promotion import LedgerEntry

GATE: Final = "gate"
# Tag of a version: the name of its model card among the artefacts of its run.
CARD_TAG: Final = "otaku.model_card"


def build_tags(entries: Sequence["LedgerEntry"]) -> dict[str, str]:
    """Build the tags of a version from the entries about it, oldest first; the gate's numbers are its last ones."""
    if not entries:
        return {}
    last = entries[-1]
    tags = {
        "decision.action": last.action,
        "decision.actor": last.actor,
        "decision.run_key": last.run_key,
        "decision.champion": str(last.champion_version or ""),
        "decision.at": last.created_at.isoformat(timespec="seconds"),
    }
    evaluated = [entry for entry in entries if "outcome" in entry.evidence]
    if evaluated:
        decision = Decision.from_dict(evaluated[-1].evidence)
        tags["decision.outcome"] = decision.outcome.value
        tags |= {f"decision.{name}": f"{value:.6g}" for name, value in decision.to_metrics().items()}
    return tags


def describe_version(entries: Sequence["LedgerEntry"], card: str | None, *, pending: str | None = None) -> str:
    """Describe a version: a paragraph for each decision, oldest first, and where its model card is.

    Parameters
    ----------
    card
        Name of the model card among the artefacts of its run, if it has one.
    pending
        Reason of a decision of the gate that is not in the ledger yet.
    """
    paragraphs = [
        entry.reason if entry.actor == GATE else f"{entry.action} by {entry.actor}: {entry.reason}" for entry in entries
    ]
    if pending is not None:
        paragraphs.append(pending)
    if card is not None:
        paragraphs.append(f"Model card: {card} among the artefacts of its run.")
    return "\n\n".join(paragraphs)
