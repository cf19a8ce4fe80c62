"""`POST /recommend/`."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from app.answers import answer_question
from app.problems import document_problems
from app.schemas import RecommendAnswer, RecommendRequest
from app.service import ModelDep, ServiceDep

router = APIRouter(tags=["recommendations"])
_PROBLEMS = document_problems(400, 401, 403, 404, 408, 413, 422, 429, 503)


@router.post("/recommend", include_in_schema=False)
@router.post("/recommend/", operation_id="recommend", response_model=RecommendAnswer, responses=_PROBLEMS)
async def post_recommend(
    request: Request, service: ServiceDep, model: ModelDep, question: Annotated[RecommendRequest, Body()]
) -> Response:
    """Recommend titles to a user of the database, to somebody new, or like a given title."""
    return await answer_question(request, service, model, question)
