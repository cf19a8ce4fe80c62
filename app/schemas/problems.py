"""The problem document of RFC 9457, and the exception that ends a request with one."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """An invalid field."""

    field: str = Field(examples=["body.k"])
    message: str = Field(examples=["Input should be less than or equal to 100"])


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(examples=["urn:otaku:problem:unknown-title"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no title matches 'Evangelon 7'"])
    request_id: str
    suggestions: list[str] | None = Field(None, description="Similar valid values, best first.")
    errors: list[FieldError] | None = Field(None, description="One entry per invalid field.")


class ProblemError(Exception):
    """Ends a request with a problem.

    Parameters
    ----------
    status, kind, detail
        The HTTP status, the last part of the problem's type, and one sentence for the client.
    suggestions
        Similar valid values.
    headers
        Headers of the response.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        suggestions: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.suggestions = suggestions
        self.headers = dict(headers or {})


def make_problem(request_id: str, status: int, kind: str | None, detail: str, **more: Any) -> Problem:
    """Describe a problem; without a kind the type is `about:blank`."""
    return Problem(
        type=f"urn:otaku:problem:{kind}" if kind else "about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        request_id=request_id,
        **more,
    )


def build_problem(
    request_id: str,
    status: int,
    kind: str | None,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """Build the response; without a kind the type is `about:blank`."""
    problem = make_problem(request_id, status, kind, detail, **more)
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE)
