"""The OpenAPI document: problem responses in place of FastAPI's own error schemas."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.schemas.problems import MEDIA_TYPE, Problem

_DESCRIPTIONS = {
    400: "The body cannot be read.",
    401: "The key is missing or wrong.",
    403: "The key does not have the scope that this needs.",
    404: "There is no such title (suggestions come with it) or user.",
    408: "The body did not arrive in time.",
    409: "It exists already, or an idempotency key was used with other content.",
    413: "The body is too large.",
    422: "A field is wrong; `errors` names it.",
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
    """Build the OpenAPI document with `Problem` in place of FastAPI's own error schemas.

    Parameters
    ----------
    with_keys
        Whether keys are configured; an open service documents no security scheme.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    if not with_keys:
        document["components"].pop("securitySchemes", None)
        for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
            operation.pop("security", None)
            for status in ("401", "403"):
                operation["responses"].pop(status, None)
    return document
