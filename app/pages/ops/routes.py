"""Routes of `/ops`."""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from app.pages.ops.approvals import get_registry, show_waiting
from app.pages.ops.compare import compare
from app.pages.ops.figures import read_figures
from app.pages.ops.forms import read_reason
from app.pages.ops.health import assess, describe_age
from app.pages.ops.prometheus import HOURS
from app.pages.ops.scheduler import Scheduler
from app.pages.ops.session import PATH, log_in, log_out, require_operator
from app.pages.ops.timeline import WIDTH, draw_days, show_decisions
from app.pages.rendering import render
from app.pages.site import SiteDep, VisitorRoute
from app.schemas.problems import ProblemError
from app.service import Service, ServiceDep
from recsys.exceptions import RecsysError, ServiceUnavailableError
from recsys.storage.operations import Overview, read_overview
from recsys.storage.promotion import roll_back
from recsys.storage.registry import Registry

router = APIRouter(prefix=PATH, include_in_schema=False, route_class=VisitorRoute)
router.post("/login")(log_in)
router.post("/logout")(log_out)
OperatorDep = Annotated[str, Depends(require_operator)]


@dataclass(frozen=True)
class Links:
    """Where the other tools are; None where they are not set."""

    mlflow: str | None
    airflow: str | None
    model_name: str


@router.get("")
async def get_operations(request: Request, service: ServiceDep, operator: OperatorDep) -> Response:
    """Show which model serves, why, and whether all is well."""
    overview, problem = await _read_overview(service, request.app.state.links.model_name)
    figures = read_figures(service.metrics.registry)
    scheduler: Scheduler = request.app.state.scheduler
    now = dt.datetime.now(dt.UTC)
    model = service.production.served
    values: dict[str, Any] = {
        "operator": operator,
        "health": assess(overview, figures, service.problems + ([problem] if problem else []), now),
        "figures": figures,
        "all_figures": await request.app.state.prometheus.read_figures(),
        "hours": HOURS,
        "model": model,
        "served_for": describe_age((now - model.loaded_at).total_seconds()) if model else "",
        "decisions": show_decisions(overview.decisions),
        "waiting": show_waiting(overview.waiting, now),
        "overview": overview,
        "users_per_day": draw_days(overview.arrivals, "n_users"),
        "ratings_per_day": draw_days(overview.arrivals, "n_ratings"),
        "width": WIDTH,
        "links": request.app.state.links,
        "runs": await scheduler.read_next_runs(),
        "can_retrain": scheduler.is_set,
        "can_roll_back": _is_rollback_possible(service, overview),
    }
    return render(request, "ops/overview.html", values)


async def _read_overview(service: Service, model_name: str) -> tuple[Overview, str]:
    try:
        return await service.database.read(lambda connection: read_overview(connection, model_name)), ""
    except ServiceUnavailableError:
        return Overview((), (), {}, ()), "the database does not answer"


def _is_rollback_possible(service: Service, overview: Overview) -> bool:
    moves = [entry for entry in overview.decisions if entry.action != "keep"]
    return isinstance(service.source, Registry) and bool(moves) and moves[0].champion_version is not None


@router.post("/rollback")
async def post_rollback(request: Request, service: ServiceDep, site: SiteDep, operator: OperatorDep) -> Response:
    """Put the version back that was in Production before."""
    reason = await read_reason(request, site)
    registry = get_registry(service)
    key = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}/rollback-{secrets.token_hex(4)}"
    try:
        entry = await service.database.act(
            lambda engine: roll_back(engine, registry, run_key=key, actor=f"user:{operator}", reason=reason)
        )
    except ServiceUnavailableError:
        raise
    except RecsysError as error:
        raise ProblemError(409, "rollback-refused", str(error)) from error
    response = RedirectResponse(PATH, 303)
    site.leave_note(request, response, f"Version {entry.challenger_version} goes back into Production.")
    return response


@router.post("/retrain")
async def post_retrain(request: Request, site: SiteDep, operator: OperatorDep) -> Response:
    """Ask Airflow for a run of `retrain_model`."""
    reason = await read_reason(request, site)
    scheduler: Scheduler = request.app.state.scheduler
    run_id = await scheduler.trigger_retraining(f"{reason} (user:{operator})")
    response = RedirectResponse(PATH, 303)
    site.leave_note(request, response, f"Airflow runs retrain_model as {run_id}.")
    return response


@router.get("/compare")
async def get_comparison(request: Request, service: ServiceDep, operator: OperatorDep) -> Response:
    """Show what one user gets from two versions or algorithms."""
    return render(request, "ops/compare.html", {"operator": operator, **await compare(request, service)})
