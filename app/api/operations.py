"""Health, the served model version, metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.openapi import document_problems
from app.guard.keys import GuardedRoute
from app.schemas.operations import Health, ModelInfo
from app.service import ModelDep, ServiceDep

public_router = APIRouter(prefix="/health", tags=["operations"])
router = APIRouter(tags=["operations"], route_class=GuardedRoute)
metrics_router = APIRouter(tags=["operations"], route_class=GuardedRoute)


@public_router.get("/live", operation_id="read_liveness")
async def get_liveness() -> Health:
    """Liveness: the process answers."""
    return Health(status="alive")


@public_router.get("/ready", operation_id="read_readiness", responses=document_problems(503))
async def get_readiness(service: ServiceDep, model: ModelDep) -> Health:
    """Readiness: a model is loaded; `degraded` lists what fails around it."""
    problems = service.problems
    return Health(status="degraded" if problems else "ready", model_version=model.version, problems=problems)


@router.get("/model", operation_id="read_model", responses=document_problems(401, 403, 429, 503))
async def get_model_info(model: ModelDep) -> ModelInfo:
    """Return the served model version."""
    return ModelInfo(
        name=model.name,
        version=model.version,
        run_id=model.run_id,
        n_items=len(model.recommender.catalog),
        loaded_at=model.loaded_at,
    )


@metrics_router.get(
    "/metrics",
    operation_id="read_metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **document_problems(401, 403, 429)},
)
async def get_metrics(service: ServiceDep) -> Response:
    """Metrics in the text format of Prometheus: of this instance, and of jobs and data from the database."""
    return Response(await service.render_metrics(), media_type=CONTENT_TYPE_LATEST)
