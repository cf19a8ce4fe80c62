"""Exception handlers that return problem documents (RFC 9457) without stack trace or input."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.guard.workers import OverloadedError
from app.schemas.problems import FieldError, Problem, ProblemError, build_problem, make_problem
from recsys.exceptions import (
    IdempotencyKeyReusedError,
    NoProductionModelError,
    ServiceUnavailableError,
    UnknownItemError,
    UnknownTitleError,
    UnknownUserError,
    WatchListError,
    WatchListTooLargeError,
)

logger = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 2
_SHOWN_FIELD = re.compile(r"[\w .\[\]-]{1,60}")
_SHOWN_ERRORS = 20


def install_problem_handlers(app: FastAPI) -> None:
    """Register a handler for every expected error."""
    app.add_exception_handler(ProblemError, _handle_problem)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(UnknownTitleError, _handle_unknown_title)
    app.add_exception_handler(UnknownItemError, _handle_unknown_item)
    app.add_exception_handler(UnknownUserError, _handle_unknown_user)
    app.add_exception_handler(IdempotencyKeyReusedError, _handle_reused_key)
    app.add_exception_handler(WatchListError, _handle_unreadable_list)
    app.add_exception_handler(NoProductionModelError, _handle_no_model)
    app.add_exception_handler(ServiceUnavailableError, _handle_unavailable)
    app.add_exception_handler(OverloadedError, _handle_overloaded)


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


def describe_problem(error: ProblemError | UnknownTitleError, request_id: str) -> Problem:
    """Describe an error of one request among many."""
    if isinstance(error, UnknownTitleError):
        detail, suggestions = f"no title matches {error.title!r}", error.suggestions
        return make_problem(request_id, 404, "unknown-title", detail, suggestions=list(suggestions))
    suggested = None if error.suggestions is None else list(error.suggestions)
    return make_problem(request_id, error.status, error.kind, error.detail, suggestions=suggested)


async def _handle_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)  # noqa: S101 - narrows the type that Starlette has chosen the handler by
    return build_problem(
        _request_id(request),
        error.status,
        error.kind,
        error.detail,
        headers=error.headers,
        suggestions=None if error.suggestions is None else list(error.suggestions),
    )


async def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    details = error.errors()
    errors = [FieldError(field=_show_place(entry["loc"]), message=str(entry["msg"])) for entry in details]
    detail = f"{len(errors)} wrong field{'s' if len(errors) > 1 else ''}: see errors"
    return build_problem(_request_id(request), 422, "invalid-request", detail, errors=errors[:_SHOWN_ERRORS])


def _show_place(place: Sequence[Any]) -> str:
    """Return the path of a field; a client's own key is shown only if it is plain text."""
    return ".".join(str(part) if _SHOWN_FIELD.fullmatch(str(part)) else "?" for part in place)


async def _handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    return build_problem(_request_id(request), error.status_code, None, str(error.detail), headers=error.headers)


async def _handle_unknown_title(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnknownTitleError)  # noqa: S101 - as above
    return build_problem(
        _request_id(request), 404, "unknown-title", f"no title matches {error.title!r}", suggestions=error.suggestions
    )


async def _handle_unknown_item(request: Request, error: Exception) -> JSONResponse:
    return build_problem(_request_id(request), 404, "unknown-item", str(error))


async def _handle_unknown_user(request: Request, error: Exception) -> JSONResponse:
    return build_problem(_request_id(request), 404, "unknown-user", str(error))


async def _handle_reused_key(request: Request, error: Exception) -> JSONResponse:
    return build_problem(_request_id(request), 409, "idempotency-key-reused", str(error))


async def _handle_unreadable_list(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, WatchListTooLargeError):
        return build_problem(_request_id(request), 413, "list-too-large", str(error))
    return build_problem(_request_id(request), 422, "unreadable-list", str(error))


async def _handle_no_model(request: Request, _error: Exception) -> JSONResponse:
    detail = "no model is loaded yet; try again in a few seconds"
    return build_problem(_request_id(request), 503, "no-model", detail, headers=_retry_after())


async def _handle_unavailable(request: Request, error: Exception) -> JSONResponse:
    # The message may name hosts: it is for the log, not for the client.
    logger.warning("request %s: %s", _request_id(request), error)
    detail = "a backing service does not answer; try again in a few seconds"
    return build_problem(_request_id(request), 503, "unavailable", detail, headers=_retry_after())


async def _handle_overloaded(request: Request, _error: Exception) -> JSONResponse:
    detail = "the service is overloaded; try again in a few seconds"
    return build_problem(_request_id(request), 503, "overloaded", detail, headers=_retry_after())


def _retry_after() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}
