"""`POST /recommend/`."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from app.api.openapi import document_problems
from app.guard.keys import GuardedRoute, may
from app.responses import build_response
from app.schemas.recommendations import RecommendRequest, RecommendResponse
from app.service import ModelDep, ServiceDep

router = APIRouter(tags=["recommendations"], route_class=GuardedRoute)
_PROBLEMS = document_problems(400, 401, 403, 404, 408, 413, 422, 429, 503)


@router.post("/recommend", include_in_schema=False)
@router.post("/recommend/", operation_id="recommend", response_model=RecommendResponse, responses=_PROBLEMS)
async def post_recommend(
    request: Request, service: ServiceDep, model: ModelDep, body: Annotated[RecommendRequest, Body()]
) -> Response:
    """Recommend titles to a user of the database, to a new user, or like a given title."""
    request_id = request.state.request_id
    shows_history = may(request, "write")
    built = await build_response(service, model, body, request_id, shows_history=shows_history)
    request.state.kind = built.kind
    return Response(built.with_id(request_id), media_type="application/json")
