"""Every error as a problem document (RFC 9457), without a stack trace and without the input."""

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.work import OverloadedError
from recsys.exceptions import (
    NoProductionModelError,
    ServiceUnavailableError,
    UnknownItemError,
    UnknownTitleError,
)

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_SHOWN_FIELD = re.compile(r"[\w .\[\]-]{1,60}")
_SHOWN_ERRORS = 20


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(examples=["body.k"])
    message: str = Field(examples=["Input should be less than or equal to 100"])


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(examples=["urn:otaku:problem:unknown-title"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no title matches 'Evangelon 7'"])
    request_id: str
    suggestions: list[str] | None = Field(None, description="What was perhaps meant, best first.")
    errors: list[FieldError] | None = Field(None, description="One entry per wrong field.")


class ProblemError(Exception):
    """Ends a request with a problem.

    Parameters
    ----------
    status, kind, detail
        The HTTP status, the last part of the problem's type, and one sentence for the person who asked.
    suggestions
        What was perhaps meant.
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


def build_problem(
    request_id: str,
    status: int,
    kind: str | None,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """Build the response; without a kind the status says it all."""
    problem = Problem(
        type=f"urn:otaku:problem:{kind}" if kind else "about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        request_id=request_id,
        **more,
    )
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every expected error of this application with a problem."""
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(UnknownTitleError, _answer_unknown_title)
    app.add_exception_handler(UnknownItemError, _answer_unknown_item)
    app.add_exception_handler(NoProductionModelError, _answer_no_model)
    app.add_exception_handler(ServiceUnavailableError, _answer_unavailable)
    app.add_exception_handler(OverloadedError, _answer_overloaded)


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


async def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)  # noqa: S101 - narrows the type that Starlette has chosen the handler by
    return build_problem(
        _request_id(request),
        error.status,
        error.kind,
        error.detail,
        headers=error.headers,
        suggestions=None if error.suggestions is None else list(error.suggestions),
    )


async def _answer_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    details = error.errors()
    errors = [FieldError(field=_show_place(entry["loc"]), message=str(entry["msg"])) for entry in details]
    detail = f"{len(errors)} wrong field{'s' if len(errors) > 1 else ''}: see errors"
    return build_problem(_request_id(request), 422, "invalid-request", detail, errors=errors[:_SHOWN_ERRORS])


def _show_place(place: Sequence[Any]) -> str:
    """Name a field; a key that the client made up is shown only if it is plain."""
    return ".".join(str(part) if _SHOWN_FIELD.fullmatch(str(part)) else "?" for part in place)


async def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    return build_problem(_request_id(request), error.status_code, None, str(error.detail), headers=error.headers)


async def _answer_unknown_title(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnknownTitleError)  # noqa: S101 - as above
    return build_problem(
        _request_id(request), 404, "unknown-title", f"no title matches {error.title!r}", suggestions=error.suggestions
    )


async def _answer_unknown_item(request: Request, error: Exception) -> JSONResponse:
    return build_problem(_request_id(request), 404, "unknown-item", str(error))


async def _answer_no_model(request: Request, _error: Exception) -> JSONResponse:
    detail = "no model is loaded yet; try again in a few seconds"
    return build_problem(_request_id(request), 503, "no-model", detail, headers=_retry_after())


async def _answer_unavailable(request: Request, error: Exception) -> JSONResponse:
    # The message may name hosts: it is for the log, not for the client.
    logger.warning("request %s: %s", _request_id(request), error)
    detail = "a part of the service does not answer; try again in a few seconds"
    return build_problem(_request_id(request), 503, "unavailable", detail, headers=_retry_after())


async def _answer_overloaded(request: Request, _error: Exception) -> JSONResponse:
    detail = "more is asked than can be answered in time; try again in a few seconds"
    return build_problem(_request_id(request), 503, "overloaded", detail, headers=_retry_after())


def _retry_after() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}


_DESCRIPTIONS = {
    400: "The body cannot be read.",
    401: "The key is missing or wrong.",
    403: "The key does not have the scope that this needs.",
    404: "There is no such title (suggestions come with it) or person.",
    408: "The body did not arrive in time.",
    409: "It exists already.",
    413: "The body is too large.",
    422: "A field is wrong; the answer names it.",
    429: "Too many requests; the header Retry-After says when to come again.",
    500: "Something went wrong that should not.",
    503: "No model is loaded yet, the user database does not answer, or too many requests are waiting.",
}


def document_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may end with these statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def build_openapi(app: FastAPI, *, with_keys: bool) -> dict[str, Any]:
    """Build the OpenAPI page with the problem document in place of FastAPI's own error schemas.

    Parameters
    ----------
    with_keys
        Whether keys are configured; the page of an open service asks for none.
    """
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = page.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    if not with_keys:
        page["components"].pop("securitySchemes", None)
        for operation in (operation for methods in page["paths"].values() for operation in methods.values()):
            operation.pop("security", None)
            for status in ("401", "403"):
                operation["responses"].pop(status, None)
    return page
