"""A job tells how it ended: in `job_runs`, in its trace, and in its log."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import select

from recsys.exceptions import RetrainError
from recsys.jobs import call_job
from recsys.storage.database import create_database_engine
from recsys.storage.job_runs import JobRun, read_pipeline_state
from recsys.storage.tables import job_runs
from retrain_model.options import AsOf, DryRun, Step

pytestmark = pytest.mark.local
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP endpoint, and what it received."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join(30)
    server.server_close()


def read_runs(url: str) -> list[JobRun]:
    engine = create_database_engine(url)
    with engine.connect() as connection:
        columns = [job_runs.c[name] for name in JobRun.__dataclass_fields__]
        found = [JobRun(*row) for row in connection.execute(select(*columns).order_by(job_runs.c.job_run_id))]
    engine.dispose()
    return found


def test_a_run_is_a_row_a_span_and_lines_with_its_ids(
    database_url: str, collector: tuple[str, list[ExportTraceServiceRequest]], tmp_path: Path
) -> None:
    endpoint, received = collector
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OTAKU_DATABASE_URL": database_url,
        "OTAKU_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "TRACEPARENT": f"00-{TRACE}-00f067aa0ba902b7-01",
    }
    command = [sys.executable, "-m", "simulate_new_users", "--day", "2026-01-05"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 99, done.stderr
    *lines, sentence = done.stderr.splitlines()
    assert sentence.startswith("simulate_new_users: ")
    told = [json.loads(line) for line in lines]
    assert told
    assert {(line["job"], line["run"], line["trace_id"]) for line in told} == {
        ("simulate_new_users", "2026-01-05", TRACE)
    }
    (run,) = read_runs(database_url)
    assert (run.job, run.outcome, str(run.day), run.trace_id) == ("simulate_new_users", "skipped", "2026-01-05", TRACE)
    assert run.started_at <= run.ended_at
    spans = [
        span
        for sent in received
        for resource in sent.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [(span.name, span.trace_id.hex()) for span in spans] == [("simulate_new_users", TRACE)]


def retrain(as_of: AsOf, step: Step = None, dry_run: DryRun = False) -> str:
    """Stand in for a job with the options of one."""
    if step == "gate":
        raise RetrainError("the gate is closed")
    return as_of.isoformat()


def test_failures_and_successes_are_counted_and_dry_runs_are_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTAKU_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    call_job(retrain, ["--as-of", "2026-01-11"], prog="python -m retrain_model")
    call_job(retrain, ["evaluate", "--as-of", "2026-01-11", "--dry-run"], prog="python -m retrain_model")
    with pytest.raises(RetrainError):
        call_job(retrain, ["gate", "--as-of", "2026-01-11"], prog="python -m retrain_model")

    runs = [(run.job, run.outcome, run.message) for run in read_runs(database_url)]
    failed = ("retrain_model.gate", "failed", "RetrainError: the gate is closed")
    assert runs == [("retrain_model", "succeeded", ""), failed]
    engine = create_database_engine(database_url)
    with engine.connect() as connection:
        jobs = read_pipeline_state(connection, "anime-recommender").jobs
    engine.dispose()
    assert jobs["retrain_model"].last_seconds is not None
    assert jobs["retrain_model.gate"].n_runs == {"failed": 1}
    assert jobs["retrain_model.gate"].last_seconds is None


def test_a_database_that_is_away_hides_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTAKU_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.chdir(tmp_path)
    found = call_job(retrain, ["--as-of", "2026-01-11"], prog="python -m retrain_model")
    assert found.startswith("2026-01-11")
