"""`POST /recommend/batch`: many requests for recommendations in one call."""

from pydantic import ConfigDict, Field

from app.schemas.base import RequestModel, ResponseModel
from app.schemas.problems import Problem
from app.schemas.recommendations import RecommendRequest, RecommendResponse

MAX_REQUESTS = 100


class BatchRequest(RequestModel):
    """Requests, each with the body of `POST /recommend/`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"user_input": 1565}, {"ratings": {"1": 9}, "k": 5}]}]}
    )

    requests: list[RecommendRequest] = Field(
        min_length=1, max_length=MAX_REQUESTS, description="Each counts against the rate limit."
    )
    watched: bool = Field(
        False, strict=True, description="Whether `watched` is filled, which takes as long as the lists."
    )


class BatchResponse(ResponseModel):
    """Responses in the order of the requests."""

    responses: list[RecommendResponse | Problem] = Field(
        description="For each request what `POST /recommend/` answers, or the problem that it ends with."
    )
    request_id: str
