"""The client against a mock transport: its requests, and how it reads the responses."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import pytest

from otaku.platform import airflow_client
from otaku.platform.airflow_client import AirflowClient
from recsys.exceptions import ConfigurationError, ServiceUnavailableError

RUNS = [
    {"dag_run_id": f"run {day}", "data_interval_end": f"2026-01-{day:02}T21:50:00Z", "state": "success"}
    for day in range(5, 30)
]


@pytest.fixture
def requests() -> list[httpx.Request]:
    return []


@pytest.fixture
def client(requests: list[httpx.Request], monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowClient]:
    monkeypatch.setattr(airflow_client, "_PAGE", 10)
    monkeypatch.setattr(airflow_client, "_POLL_SECONDS", 0.01)

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        path = request.url.path.removeprefix("/api/v2")
        if path == "/auth/token":
            if b"wrong" in request.content:
                return httpx.Response(401, json={"detail": "Invalid credentials"})
            # The first time it is not ready yet.
            if len(requests) == 1:
                return httpx.Response(503, json={})
            return httpx.Response(201, json={"access_token": "t0ken"})
        if path.endswith("/dagRuns") and request.method == "GET":
            offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
            runs: list[dict[str, Any]] = [{"dag_run_id": "asset", "data_interval_end": None}, *RUNS]
            return httpx.Response(200, json={"dag_runs": runs[offset : offset + limit]})
        if "/logs/" in path:
            return httpx.Response(
                200, json={"content": [{"event": "one", "level": "info"}, {"event": "skip.", "reason": "why"}, "two"]}
            )
        if path == "/backfills/7":
            done = sum("/backfills/7" in str(asked.url) for asked in requests) > 2
            return httpx.Response(200, json={"completed_at": "now" if done else None})
        if request.method in {"POST", "PATCH"}:
            return httpx.Response(200, json={"id": 7, "dag_run_id": "manual"})
        return httpx.Response(404, json={"detail": "nothing here"})

    client = AirflowClient("http://airflow.example/", "admin", "secret")
    client._http = httpx.Client(base_url=f"{client.url}/api/v2", transport=httpx.MockTransport(answer))
    with client:
        yield client


def test_all_pages_are_read_and_runs_without_an_interval_are_listed_only(client: AirflowClient) -> None:
    assert len(client.list_runs("x")) == len(RUNS) + 1
    runs = client.read_runs("x")
    assert (min(runs), max(runs), len(runs)) == (date(2026, 1, 5), date(2026, 1, 29), len(RUNS))
    assert client.wait_for_run("x", date(2026, 1, 7), timeout=60) == "success"


def test_a_backfill_names_intervals_by_their_start(client: AirflowClient, requests: list[httpx.Request]) -> None:
    assert client.backfill("x", date(2026, 1, 5), date(2026, 1, 11)) == 7
    asked = json.loads(requests[-1].content)
    assert (asked["from_date"], asked["to_date"]) == ("2026-01-04T00:00:00+00:00", "2026-01-11T00:00:00+00:00")
    assert requests[-1].headers["authorization"] == "Bearer t0ken"
    polls: list[None] = []
    client.wait_for_backfill(7, timeout=60, on_poll=lambda: polls.append(None))
    assert len(polls) == 3


def test_logs_triggers_and_pauses(client: AirflowClient, requests: list[httpx.Request]) -> None:
    assert client.read_log("x", "run", "task", attempt=2) == ["one", "skip. why", "two"]
    assert requests[-1].url.path.endswith("/dags/x/dagRuns/run/taskInstances/task/logs/2")
    assert client.trigger("x", dry_run=True) == "manual"
    assert json.loads(requests[-1].content) == {"logical_date": None, "conf": {"dry_run": True}}


def test_a_refusal_is_one_sentence_and_waiting_ends(client: AirflowClient) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"Airflow refused .*/dags/x/dagRuns/y.*404"):
        client.read_tasks("x", "y")
    with pytest.raises(ServiceUnavailableError, match="waiting for x of 2027-01-01"):
        client.wait_for_run("x", date(2027, 1, 1), timeout=0.1)


def test_a_wrong_password_is_one_sentence_at_once(client: AirflowClient) -> None:
    stranger = AirflowClient(client.url, "admin", "wrong")
    stranger._http = client._http
    with pytest.raises(ConfigurationError, match="refused the login of 'admin'"):
        stranger.__enter__()
