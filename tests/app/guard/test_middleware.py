import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from app.guard.middleware import RequestContext, RequestLimits
from app.metrics import ServiceMetrics

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def call(
    application: Application, messages: list[Message], headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[list[Message], ServiceMetrics]:
    """Send one request through the middleware and return what came back."""
    metrics, sent = ServiceMetrics(), list[Message]()
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": headers or []}
    asyncio.run(RequestContext(RequestLimits(application, max_body_bytes=10), metrics)(scope, receive, send))
    return sent, metrics


def count(metrics: ServiceMetrics, status: str) -> float:
    families = text_string_to_metric_families(metrics.render().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == "otaku_requests_total"]
    return sum(sample.value for sample in samples if sample.labels["status"] == status)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    after = await receive()
    assert after["type"] == "http.disconnect"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError


async def fail_half_way(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError


def chunk(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_pieces_reaches_the_application_whole() -> None:
    sent, metrics = call(echo, [chunk(b"12345", more=True), chunk(b"67890", more=False)])

    assert sent[1]["body"] == b"1234567890"
    assert count(metrics, "200") == 1


def test_a_body_is_refused_at_the_first_piece_over_the_limit() -> None:
    sent, metrics = call(fail, [chunk(b"1234567890", more=True), chunk(b"x", more=True)])

    assert sent[0]["status"] == 413
    assert count(metrics, "413") == 1


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    for length in (b"11", b"9" * 5000):
        sent, _ = call(fail, [], [(b"content-length", length)])
        assert sent[0]["status"] == 413


def test_a_client_that_goes_away_gets_no_answer_and_is_counted() -> None:
    sent, metrics = call(fail, [chunk(b"1", more=True)])

    assert sent == []
    assert count(metrics, "499") == 1


def test_an_error_becomes_a_500_unless_the_answer_has_begun() -> None:
    sent, metrics = call(fail, [chunk(b"", more=False)])

    assert sent[0]["status"] == 500
    assert count(metrics, "500") == 1
    with pytest.raises(ZeroDivisionError):
        call(fail_half_way, [chunk(b"", more=False)])
