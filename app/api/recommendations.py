"""`POST /recommend/`."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from app.api.openapi import document_problems
from app.api.problem_handlers import describe_problem
from app.guard.keys import GuardedRoute, count_more, may
from app.recommending.groups import recommend_to_group
from app.responses import build_batch, build_response
from app.schemas.batches import BatchRequest, BatchResponse
from app.schemas.groups import GroupRequest, GroupResponse
from app.schemas.recommendations import RecommendRequest, RecommendResponse
from app.service import ModelDep, ServiceDep
from app.stores.user_history import read_history

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


@router.post("/recommend/batch", operation_id="recommend_batch", response_model=BatchResponse, responses=_PROBLEMS)
async def post_batch(
    request: Request, service: ServiceDep, model: ModelDep, body: Annotated[BatchRequest, Body()]
) -> Response:
    """Answer many requests for recommendations by one version, faster than one after the other."""
    await count_more(request, len(body.requests) - 1)
    request_id, shows_history = request.state.request_id, may(request, "write")
    built = await build_batch(service, model, body, request_id, shows_history=shows_history)
    parts = [
        part if isinstance(part, bytes) else describe_problem(part, request_id).model_dump_json().encode()
        for part in built
    ]
    content = b'{"responses":[' + b",".join(parts) + f'],"request_id":"{request_id}"}}'.encode()
    return Response(content, media_type="application/json")


@router.post("/recommend/group", operation_id="recommend_group", responses=_PROBLEMS)
async def post_group(
    request: Request, service: ServiceDep, model: ModelDep, body: Annotated[GroupRequest, Body()]
) -> GroupResponse:
    """Recommend titles that nobody of a group has seen, to all of them together."""
    adult = service.shows_adult if body.adult is None else body.adult
    histories = [
        None if member.user_input is None else await read_history(service.database, member.user_input)
        for member in body.members
    ]
    return await service.workers.run(
        lambda: recommend_to_group(model, body, histories, adult=adult, request_id=request.state.request_id)
    )
