"""Problems as pages in the look of the others, for whoever asks for HTML."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from app.pages.rendering import render
from app.schemas.problems import MEDIA_TYPE

_TITLES: Final = {
    403: "Not here",
    404: "Nothing found",
    413: "Too large",
    429: "A little slower, please",
    503: "One moment",
}

Handler = Callable[[Request, Exception], Awaitable[Response]]


def wants_page(scope: Scope) -> bool:
    """Whether a client asks for HTML by name, as browsers do when they open a page."""
    return "text/html" in Headers(scope=scope).get("accept", "")


def render_problem(request: Request, response: Response) -> Response:
    """Render a problem document as a page with the same status and headers."""
    if response.media_type != MEDIA_TYPE or not wants_page(request.scope):
        return response
    problem = json.loads(bytes(response.body))
    heading = _TITLES.get(response.status_code, "Something went wrong" if response.status_code >= 500 else "Not quite")
    page = render(request, "problem.html", {"problem": problem, "heading": heading}, response.status_code)
    for name in ("retry-after", "connection", "www-authenticate"):
        if name in response.headers:
            page.headers[name] = response.headers[name]
    return page


def show_problems_as_pages(app: FastAPI) -> None:
    """Wrap every exception handler of an application."""

    def wrap(handler: Any) -> Handler:
        """Show what a handler answers as a page."""

        async def handle(request: Request, error: Exception) -> Response:
            """Handle the error and show the problem."""
            return render_problem(request, await handler(request, error))

        return handle

    for error, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(error, wrap(handler))


def render_for_middleware(scope: Scope, response: Response) -> Response:
    """Render what the outermost middleware refuses."""
    return render_problem(Request(scope), response)
