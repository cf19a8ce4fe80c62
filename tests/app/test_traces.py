"""A request is a span of the client's trace, and its log line carries both ids."""

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from recsys.logs import JsonFormatter, log_context
from recsys.tracing import find_trace_id, start_span, write_parent
from tests.app.harness import TestClient

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer", provider.get_tracer)
    return exporter


def test_a_request_continues_the_trace_of_its_client(
    client: TestClient, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="app")
    caplog.handler.setFormatter(JsonFormatter())
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "id-7"}

    client.post("/recommend/", json={"liked": ["Monster"]}, headers=headers)
    client.get("/health/live", headers=headers)

    found = {span.name: span for span in spans.get_finished_spans()}
    assert sorted(found) == ["POST /recommend/", "compute recommendations"]
    assert {f"{span.context.trace_id:032x}" for span in found.values() if span.context} == {TRACE}
    attributes = dict(found["POST /recommend/"].attributes or {})
    assert attributes["http.response.status_code"] == 200
    assert attributes["otaku.request.id"] == "id-7"
    assert "Monster" not in str([dict(span.attributes or {}) for span in found.values()])
    (line,) = [json.loads(text) for text in caplog.text.splitlines() if '"/recommend/"' in text]
    assert (line["request_id"], line["trace_id"]) == ("id-7", TRACE)


def test_without_an_endpoint_there_is_no_trace(client: TestClient) -> None:
    with start_span("nothing"):
        assert find_trace_id() is None
        assert write_parent() == {}


def test_ids_of_a_run_stand_on_its_lines_alone(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    def write() -> dict[str, str]:
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "text", (), None)
        found: dict[str, str] = json.loads(JsonFormatter().format(record))
        return found

    with log_context(job="retrain_model", run="2026-01-11-abc"):
        assert write().items() >= {"job": "retrain_model", "run": "2026-01-11-abc"}.items()
    assert "job" not in write()
