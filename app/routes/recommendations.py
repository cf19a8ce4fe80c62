"""`POST /recommend/`."""

from typing import Annotated

from fastapi import APIRouter, Body, Request

from app.problems import document_problems
from app.recommending import recommend
from app.schemas import RecommendAnswer, RecommendRequest
from app.service import ModelDep, ServiceDep

router = APIRouter(tags=["recommendations"])


@router.post("/recommend", include_in_schema=False)
@router.post("/recommend/", operation_id="recommend", responses=document_problems(400, 401, 404, 413, 422, 503))
def post_recommend(
    request: Request, service: ServiceDep, model: ModelDep, question: Annotated[RecommendRequest, Body()]
) -> RecommendAnswer:
    """Recommend titles to a user of the database, to somebody new, or like a given title."""
    answer = recommend(model, question, service.history.read, request_id=request.state.request_id)
    request.state.kind = answer.kind
    return answer
