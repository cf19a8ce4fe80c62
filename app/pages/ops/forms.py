"""What the forms of `/ops` have in common: a token and a reason for the ledger."""

from typing import Final

from fastapi import Request

from app.pages.queries import read_text
from app.pages.site import Site
from app.schemas.problems import ProblemError

MIN_REASON: Final = 5
MAX_REASON: Final = 500


async def read_reason(request: Request, site: Site) -> str:
    """Check the token of a form and return its reason.

    Raises
    ------
    ProblemError
        403 for a form of another site; 422 without a reason.
    """
    form = await request.form()
    site.check_form(request, form.get("token"))
    reason = read_text(form.get("reason"), MAX_REASON)
    if len(reason) < MIN_REASON:
        raise ProblemError(422, "reason-needed", f"a reason of {MIN_REASON} letters or more goes into the ledger")
    return reason
