"""`/ops/decisions/ID`: one line of the ledger with its numbers, and the model card of its version."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from markupsafe import Markup

from app.pages.markdown import render_markdown
from app.pages.ops.session import PATH, require_operator
from app.pages.ops.timeline import WIDTH, show_decisions
from app.pages.rendering import render
from app.pages.site import VisitorRoute
from app.schemas.problems import ProblemError
from app.service import Service, ServiceDep
from recsys.exceptions import RecsysError
from recsys.storage.ledger import LedgerEntry, find_decision
from recsys.storage.registry import Registry
from recsys.storage.version_notes import CARD_TAG

MAX_CARD: Final = 1 << 20

router = APIRouter(prefix=PATH, include_in_schema=False, route_class=VisitorRoute)


@router.get("/decisions/{decision_id}")
async def get_decision(
    request: Request,
    decision_id: int,
    service: ServiceDep,
    operator: Annotated[str, Depends(require_operator)],
) -> Response:
    """Show why a decision was made."""
    entry = await service.database.read(lambda connection: find_decision(connection, decision_id))
    if entry is None:
        raise ProblemError(404, "unknown-decision", f"the ledger has no decision {decision_id}")
    card, trouble = await run_in_threadpool(_read_card, service, entry)
    values = {
        "operator": operator,
        "shown": show_decisions([entry])[0],
        "card": card,
        "trouble": trouble,
        "links": request.app.state.links,
        "width": WIDTH,
    }
    return render(request, "ops/decision.html", values)


def _read_card(service: Service, entry: LedgerEntry) -> tuple[Markup | None, str]:
    """Read the model card of a version; what stands in the way is told, the decision is shown all the same."""
    registry = service.source
    if not isinstance(registry, Registry) or entry.challenger_version is None:
        return None, ""
    try:
        version = registry.read_version(entry.challenger_version)
        name = version.tags.get(CARD_TAG)
        if name is None:
            return None, "This version has no model card."
        content = registry.read_artifact(version.run_id, name)[:MAX_CARD]
    except RecsysError as error:
        return None, f"The model card cannot be read: {error}"
    return render_markdown(content.decode(errors="replace")), ""
