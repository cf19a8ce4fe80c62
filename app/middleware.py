"""What happens around every request: its id, its measure, a limit on its body, and an answer whatever went wrong."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import ServiceMetrics
from app.problems import build_problem

logger = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BodyTooLargeError(Exception):
    """The body of a request is larger than the limit."""


class ClientDisconnectedError(Exception):
    """The client went away before its request was complete."""


class RequestContext:
    """Give a request its id, read its body within the limit, measure it, and turn what nobody expected into a 500."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

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
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._handle(scope, receive, send_with_id, request_id)
        except ClientDisconnectedError:
            status = 499
        finally:
            self._note(scope, status, time.perf_counter() - started)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            body = await _read_body(scope, receive, self._max_body_bytes)
            await self._app(scope, _replay(body, receive), send_and_note)
        except BodyTooLargeError:
            detail = f"the body is larger than {self._max_body_bytes} bytes"
            headers = {"Connection": "close"}
            await build_problem(request_id, 413, "body-too-large", detail, headers=headers)(scope, receive, send)
        except ClientDisconnectedError:
            raise
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            detail = "something went wrong that should not; the log has it under this request id"
            await build_problem(request_id, 500, None, detail)(scope, receive, send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        state = scope["state"]
        self._metrics.count_request(route, method, status, state.get("kind", ""), seconds)
        logger.info("%s %s %s %d %.1f ms", state["request_id"], method, route, status, seconds * 1000)


def _choose_request_id(given: str | None) -> str:
    """Keep the client's id if it is short and plain."""
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
    """Give the body once, then whatever else arrives."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
