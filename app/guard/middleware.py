"""Middleware around every request: request id, metrics, body limit, timeouts, and a response to every error."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import ServiceMetrics
from app.schemas.problems import build_problem
from recsys.logs import REQUEST_FIELDS, log_context
from recsys.tracing import read_parent, start_span

logger = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20
BODY_SECONDS = 10.0
RESPONSE_SECONDS = 20.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PORT = re.compile(r":[0-9]*$")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BodyTooLargeError(Exception):
    """The body of a request is larger than the limit."""


class ClientDisconnectedError(Exception):
    """The client disconnected before its request was complete."""


SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
}
# Data responses load nothing, cannot be framed, and are not cached by proxies.
_DATA_HEADERS = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cache-Control": "no-store"}


class RequestContext:
    """Sets the request id and the headers of every response, and records metrics; outermost."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of connection pass unchanged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _choose_request_id(Headers(scope=scope).get("x-request-id"))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            """Complete the headers of the response and note its status."""
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete_headers(MutableHeaders(scope=message), state)
            await send(message)

        with self._metrics.track_request(), log_context(request_id=request_id), _start_span(scope) as span:
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnectedError:
                status = 499
            finally:
                self._note(scope, status, time.perf_counter() - started, span)

    def _note(self, scope: Scope, status: int, seconds: float, span: Span) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        state = scope["state"]
        kind, milliseconds = state.get("kind", ""), round(seconds * 1000, 1)
        self._metrics.count_request(route, method, status, kind, seconds)
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.route": route, "http.request.method": method, "http.response.status_code": status})
        fields = (state["request_id"], method, route, status, milliseconds)
        logger.info("%s %s %s %d %.1f ms", *fields, extra=dict(zip(REQUEST_FIELDS, (*fields, kind), strict=True)))


class RequestLimits:
    """Reads the body within the limit, limits the time, and turns unexpected errors into 500.

    It stands inside the CORS middleware, so that pages of other origins can read what it refuses, and inside
    `RequestContext`, which gives the request its id.

    Parameters
    ----------
    max_body_bytes, upload_bytes
        The limit of a body, and that of the paths to which files are uploaded.
    show_problem
        Turns a problem document into what the client of a request wants to see.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
        response_seconds: float = RESPONSE_SECONDS,
        upload_bytes: Mapping[str, int] = MappingProxyType({}),
        show_problem: Callable[[Scope, Response], Response] | None = None,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._response_seconds = response_seconds
        self._upload_bytes = upload_bytes
        self._show_problem = show_problem or (lambda _scope, response: response)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of connection pass unchanged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._handle(scope, receive, send, scope["state"]["request_id"])

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = False
        headers = {"Connection": "close"}
        limit = self._upload_bytes.get(scope["path"], self._max_body_bytes)

        async def send_and_note(message: Message) -> None:
            """Note that the response has started."""
            nonlocal started
            started = True
            await send(message)

        async def send_problem(status: int, kind: str | None, detail: str, **more: Any) -> None:
            """Send a problem instead of a response."""
            problem = build_problem(request_id, status, kind, detail, **more)
            await self._show_problem(scope, problem)(scope, receive, send)

        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _read_body(scope, receive, limit)
        except BodyTooLargeError:
            detail = f"the body is larger than {limit} bytes"
            await send_problem(413, "body-too-large", detail, headers=headers)
            return
        except TimeoutError:
            await send_problem(408, "body-too-slow", f"the body took over {self._body_seconds:g} s", headers=headers)
            return
        try:
            async with asyncio.timeout(self._response_seconds):
                await self._app(scope, _replay(body, receive), send_and_note)
        except TimeoutError:
            logger.error("request %s took over %g s", request_id, self._response_seconds)  # noqa: TRY400 - no trace needed
            if started:
                raise
            await send_problem(503, "unavailable", "this took too long; try again", headers={"Retry-After": "2"})
        except ClientDisconnectedError:
            raise
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            await send_problem(500, None, "internal error; the log has it under this request id")


class AllowedHosts:
    """Answers 421 to requests for other hosts, so that no web page reaches the service under a name of its own.

    Parameters
    ----------
    hosts
        Names in `Host`, without port; `*` stands for all. Health is told to any, since probes ask for an address.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of connection pass unchanged."""
        if scope["type"] == "http" and "*" not in self._hosts and not scope["path"].startswith("/health/"):
            host = _PORT.sub("", Headers(scope=scope).get("host", "").lower())
            if host not in self._hosts:
                detail = (
                    "the service does not answer for this host; OTAKU_ALLOWED_HOSTS names those that it answers for"
                )
                response = build_problem(scope["state"]["request_id"], 421, "unknown-host", detail)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _start_span(scope: Scope) -> AbstractContextManager[Span]:
    """Trace a request, as part of the client's trace where its headers name one; health is asked too often."""
    if scope["path"].startswith("/health/") or scope["path"] == "/metrics":
        return nullcontext(INVALID_SPAN)
    headers = Headers(scope=scope)
    carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    identified = {"otaku_request_id": scope["state"]["request_id"]}
    return start_span(scope["method"], parent=read_parent(carrier), is_server=True, **identified)


def _complete_headers(headers: MutableHeaders, state: dict[str, Any]) -> None:
    """Add the headers of every response, and those set for this one."""
    headers["X-Request-ID"] = state["request_id"]
    more = dict(SECURITY_HEADERS)
    if not headers.get("content-type", "").startswith("text/html"):
        more |= _DATA_HEADERS
    for name, value in (more | state.get("headers", {})).items():
        headers.setdefault(name, value)


def _choose_request_id(given: str | None) -> str:
    """Return the client's id if it is short and plain, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the whole body; a declared length over the limit is refused without reading."""
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise BodyTooLargeError
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLargeError
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Replay the body once, then pass on what else arrives."""
    given = False

    async def receive_again() -> Message:
        """Give what was read of the body first, then the rest."""
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
