"""When a person has the last word about a promotion.

The gate asks only about what it would promote: a person may refuse it, and never has to defend a no. Whoever wants a
version in Production that the gate kept promotes it by hand.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from recsys.gate.decision import Decision, Outcome

# Without an answer until then the champion stays.
RESPONSE_TIMEOUT: Final = timedelta(days=2)


class Approval(StrEnum):
    """Which promotions wait for a person: none, all, or those that are close."""

    Never = "none"
    Always = "always"
    IfClose = "if_close"


def requires_approval(decision: Decision, approval: Approval) -> bool:
    """Tell whether a person is asked before a decision is carried out.

    Close is a promotion whose interval holds 0: the challenger is not worse beyond the margin, and not better either.
    """
    if not decision.promotes or approval is Approval.Never:
        return False
    return approval is Approval.Always or decision.outcome is Outcome.NotDifferent
