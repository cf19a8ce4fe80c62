"""Which version the drift of a chain of promotions is measured from.

Every promotion as "not different" may lose up to the margin, and a chain of them could lose it again and again. The
anchor is the version that such a chain starts from: the last one that was promoted because it was better, or the first.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from recsys.gate.decision import ANCHORED, Decision, Outcome


class LedgerRow(Protocol):
    """What is read of a line of the ledger."""

    @property
    def action(self) -> str:
        """`promote`, `keep` or `rollback`."""
        ...

    @property
    def challenger_version(self) -> int | None:
        """The version in Production afterwards, unless the action is `keep`."""
        ...

    @property
    def champion_version(self) -> int | None:
        """The version in Production before; None where there was none."""
        ...

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The decision as `Decision.to_dict` gives it, where the gate compared."""
        ...


def select_anchor(rows: Iterable[LedgerRow], champion: int | None) -> int | None:
    """Find the anchor of the version in Production.

    A version that the gate promoted as not different, or as better than a champion that had drifted below the anchor,
    keeps the anchor of its champion, also where a user had to approve. Any other promotion starts anew: as better, as
    the first, or by a user, who answers for it. A version that a rollback restores has the anchor that it had.

    Parameters
    ----------
    rows
        The ledger, oldest first.
    champion
        The version in Production; its own anchor where the ledger does not know it.
    """
    anchors: dict[int, int] = {}
    for row in rows:
        version, before = row.challenger_version, row.champion_version
        if row.action == "promote" and version is not None:
            continues = before is not None and _continues_chain(row)
            anchors[version] = anchors.get(before, before) if continues and before is not None else version
    return None if champion is None else anchors.get(champion, champion)


def _continues_chain(row: LedgerRow) -> bool:
    if "outcome" not in row.evidence:
        return False
    return not starts_chain(Decision.from_dict(row.evidence))


def starts_chain(decision: Decision) -> bool:
    """Tell whether a promotion makes its version the anchor of those that follow."""
    if decision.outcome is Outcome.NotDifferent:
        return False
    drift = next((found.difference for found in decision.criteria if found.name == ANCHORED), None)
    return drift is None or drift.mean >= 0
