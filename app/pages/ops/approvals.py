"""Promotions that wait for a person, as `/ops` shows and answers them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from app.pages.markdown import render_markdown
from app.pages.ops.forms import read_reason
from app.pages.ops.health import describe_age
from app.pages.ops.session import PATH, require_operator
from app.pages.ops.timeline import IntervalPlot, draw_decision, read_decision
from app.pages.site import SiteDep, VisitorRoute
from app.schemas.problems import ProblemError
from app.service import Service, ServiceDep
from recsys.exceptions import RecsysError, ServiceUnavailableError
from recsys.gate.approval import RESPONSE_TIMEOUT
from recsys.storage.approvals import ApprovalRequest, answer_request
from recsys.storage.registry import Registry

Answer = Literal["approve", "refuse"]
_ACTIONS: Final[dict[Answer, str]] = {"approve": "promote", "refuse": "keep"}

router = APIRouter(prefix=PATH, include_in_schema=False, route_class=VisitorRoute)


@dataclass(frozen=True)
class WaitingApproval:
    """A request for approval, its drawing, its Markdown as markup, and how long it still waits."""

    request: ApprovalRequest
    plot: IntervalPlot | None
    body: Markup
    time_left: str
    default: str


def show_waiting(requests: Sequence[ApprovalRequest], now: dt.datetime) -> list[WaitingApproval]:
    """Arrange requests for approval, oldest first."""
    shown = []
    for request in requests:
        decision = read_decision(request.decision)
        left = (request.created_at + RESPONSE_TIMEOUT - now).total_seconds()
        shown.append(
            WaitingApproval(
                request,
                plot=draw_decision(decision) if decision is not None else None,
                body=render_markdown(request.body),
                time_left=describe_age(left) if left > 0 else "",
                default=_describe_default(request),
            )
        )
    return shown


def _describe_default(request: ApprovalRequest) -> str:
    standing = "nothing" if request.champion_version is None else f"version {request.champion_version}"
    return f"{standing} stays in Production"


@router.post("/approvals/{run_key:path}")
async def post_answer(
    request: Request,
    run_key: str,
    service: ServiceDep,
    site: SiteDep,
    operator: Annotated[str, Depends(require_operator)],
    answer: Annotated[Answer, Form()],
) -> Response:
    """Approve or refuse a promotion; the first answer holds, wherever it was given."""
    reason = await read_reason(request, site)
    registry = get_registry(service)

    def act(engine: Any) -> Any:
        """Answer the request in the name of the operator."""
        return answer_request(engine, registry, run_key, approve=answer == "approve", responder=operator, reason=reason)

    try:
        entry = await service.database.act(act)
    except ServiceUnavailableError:
        raise
    except RecsysError as error:
        raise ProblemError(409, "answer-refused", str(error)) from error
    if entry.action != _ACTIONS[answer]:
        detail = f"{run_key} was answered before: {entry.action} by {entry.actor}: {entry.reason}"
        raise ProblemError(409, "already-answered", detail)
    await request.app.state.scheduler.answer_approval(run_key, approve=answer == "approve", reason=reason)
    response = RedirectResponse(PATH, 303)
    verb = "goes into Production" if answer == "approve" else "is refused"
    site.leave_note(request, response, f"Version {entry.challenger_version} {verb}.")
    return response


def get_registry(service: Service) -> Registry:
    """Return the registry that versions are moved in.

    Raises
    ------
    ProblemError
        503 where the service reads its model from elsewhere.
    """
    if not isinstance(service.source, Registry):
        raise ProblemError(503, "no-registry", "this service has no registry to move versions in")
    return service.source
