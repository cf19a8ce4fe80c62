"""`/ops`: who gets in, that its figures are those of ledger, tables and metrics, and what its actions do."""

import datetime as dt
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, insert, select

from app.main import create_app
from app.pages.ops.approvals import show_waiting
from app.pages.ops.figures import ServiceFigures
from app.pages.ops.health import assess
from app.pages.ops.session import LOCKOUT_SECONDS, MAX_FAILURES, Sessions
from app.pages.ops.timeline import WIDTH, show_decisions
from app.schemas.problems import ProblemError
from recsys.connections import open_engine
from recsys.gate.approval import RESPONSE_TIMEOUT
from recsys.gate.decision import Decision
from recsys.settings import Settings
from recsys.storage.approvals import ApprovalRequest, store_request
from recsys.storage.operations import ArrivalDay, Overview, read_overview
from recsys.storage.promotion import LedgerEntry, read_ledger, record_decision
from recsys.storage.registry import Registry
from recsys.storage.tables import arrivals, quarantine
from tests.app.harness import FolderSource, TestClient, open_client, wait_for
from tests.app.live import register
from tests.app.pages.decisions import decide

HTML = {"Accept": "text/html"}
NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)
FIGURES = ServiceFigures(1000, 0, 0, None, None, None, None, None, None, 1, 0)


def find_token(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    return found[1]


def read_figure(page: str, name: str) -> int:
    found = re.search(rf"<dt>{name}</dt><dd>([\d,]+)</dd>", page)
    assert found, name
    return int(found[1].replace(",", ""))


def log_in(client: TestClient, key: str) -> Any:
    token = find_token(client.get("/ops", headers=HTML).text)
    return client.post("/ops/login", data={"token": token, "key": key}, headers=HTML)


@pytest.fixture
def guarded(offline_settings: Settings) -> Settings:
    keys = tuple(map(SecretStr, ("boss-key", "reader-key:recommend", "gone-key:admin")))
    return offline_settings.model_copy(update={"api_keys": keys})


def test_only_a_key_with_the_scope_admin_gets_in_and_the_cookie_ends_with_the_session(
    guarded: Settings, source: FolderSource
) -> None:
    with open_client(guarded, source) as client:
        assert client.get("/ops", headers=HTML).status_code == 401
        assert log_in(client, "reader-key").status_code == 403
        page = log_in(client, "boss-key")
        assert page.status_code == 200
        assert "Degraded" in page.text  # there is no database here
        cookie = client.cookies["otaku_ops"]
        assert "boss-key" not in page.text + cookie

        assert client.post("/ops/rollback", data={"reason": "no token at all"}, headers=HTML).status_code == 403
        client.post("/ops/logout", data={"token": find_token(page.text)}, headers=HTML)
        assert client.get("/ops", headers={**HTML, "Cookie": f"otaku_ops={cookie}"}).status_code == 401


def test_wrong_keys_lock_an_address_out(guarded: Settings, source: FolderSource) -> None:
    with open_client(guarded, source) as client:
        statuses = [log_in(client, f"wrong-{number}").status_code for number in range(MAX_FAILURES + 1)]
        assert statuses == [403] * MAX_FAILURES + [429]
        assert log_in(client, "boss-key").status_code == 429


def test_a_lockout_ends() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    for _ in range(MAX_FAILURES):
        sessions.note_failure("192.0.2.1")
    with pytest.raises(ProblemError, match="try again in 15 minutes"):
        sessions.check_lockout("192.0.2.1")
    sessions.check_lockout("192.0.2.2")
    now[0] = LOCKOUT_SECONDS + 1
    sessions.check_lockout("192.0.2.1")


def test_without_keys_only_this_machine_gets_in(offline_settings: Settings, source: FolderSource) -> None:
    app = create_app(offline_settings, source=source)
    for client, base, status in (
        (("127.0.0.1", 50000), "http://127.0.0.1:8080", 200),
        (("192.0.2.7", 50000), "http://127.0.0.1:8080", 403),
        (("127.0.0.1", 50000), "http://rebound.example", 421),
    ):
        with TestClient(app, base_url=base, client=client, headers=HTML) as opened:
            assert opened.get("/ops").status_code == status


def test_two_algorithms_are_compared_side_by_side(guarded: Settings, source: FolderSource) -> None:
    with open_client(guarded, source) as client:
        log_in(client, "boss-key")
        page = client.get("/ops/compare?who=Monster,Trigun&a=1:ranker&b=1:ease", headers=HTML).text

        sides = re.findall(r"<h3>(Version 1, \w+)</h3>(.*?)</ol>", page, re.DOTALL)
        assert [name for name, _ in sides] == ["Version 1, ranker", "Version 1, ease"]
        assert all(side.count("<li>") == 10 for _, side in sides)
        assert "Did you mean" not in page
        assert "no title matches" in client.get("/ops/compare?who=qqqqzzzz&a=1:ranker&b=1:ease", headers=HTML).text


@pytest.mark.local
def test_figures_are_those_of_ledger_tables_and_metrics_and_a_rollback_is_written_down(
    settings: Settings, registry: Registry, model_folders: dict[int, Path]
) -> None:
    versions = [register(registry, model_folders[1 + number % 2], f"2026-01-0{number}") for number in (1, 2, 3)]
    with open_engine(settings) as engine:
        for number, (lift, challenger, champion) in enumerate(
            ((0.1, versions[0], None), (0.1, versions[1], versions[0]), (-0.1, versions[2], versions[1]))
        ):
            key = f"2026-01-0{number + 1}"
            record_decision(engine, registry, decide(lift), run_key=key, challenger=challenger, champion=champion)
        store_request(
            engine, registry, run_key="2026-01-09", challenger=versions[2], champion=versions[1],
            decision=decide(0.0), body=BODY,
        )  # fmt: skip
        with engine.begin() as connection:
            days = [
                {
                    "day": dt.date(2026, 1, day),
                    "n_users": 10 + day,
                    "n_ratings": 300 + day,
                    "n_generated": 0,
                    "batch_id": str(day),
                }
                for day in (1, 2, 3)
            ]
            connection.execute(insert(arrivals), days)
            rows = [
                {
                    "file_digest": "d",
                    "line": line,
                    "file_name": "f",
                    "reason": f"<b>reason {line % 2}</b>",
                    "content": "x",
                }
                for line in range(5)
            ]
            connection.execute(insert(quarantine), rows)
        keyed = {"api_keys": (SecretStr("boss-key"),), "model_name": registry.model_name, "database_seconds": 20}
        with open_client(settings.model_copy(update=keyed), registry) as client:  # type: ignore[arg-type]
            log_in(client, "boss-key")
            for _ in range(3):
                client.post("/recommend/", json={"liked": ["Monster"]}, headers={"X-API-Key": "boss-key"})
            metrics = client.get("/metrics", headers={"X-API-Key": "boss-key"}).text
            page = client.get("/ops", headers=HTML).text

            counted = [
                float(line.split()[-1])
                for line in metrics.splitlines()
                if line.startswith("otaku_requests_total")
                and 'route="/health' not in line
                and 'route="/metrics"' not in line
            ]
            # Scrapes are not counted, and the page is once it is answered.
            assert read_figure(page, "Requests") == sum(counted)
            assert read_figure(page, "Lists") == 3
            assert "Version <b>2</b>" in page
            for entry in read_ledger(engine):
                assert entry.reason in unescape(page)
            evidence = [*(entry.evidence for entry in read_ledger(engine)), decide(0.0).to_dict()]
            assert page.count('class="plot" viewBox="0 0 360 46"') == sum(
                Decision.from_dict(found).primary is not None for found in evidence
            )
            for day in days:
                assert (
                    f'<tr><th scope="row">{day["day"]}</th><td>{day["n_users"]}</td><td>{day["n_ratings"]}</td></tr>'
                    in page
                )
            assert '<tr><th scope="row">&lt;b&gt;reason 0&lt;/b&gt;</th><td>3</td></tr>' in page

            form = {"token": find_token(page), "reason": "lists are odd"}
            assert client.post("/ops/rollback", data={**form, "reason": "?"}, headers=HTML).status_code == 422
            done = client.post("/ops/rollback", data=form, headers=HTML)
            assert f"Version {versions[0]} goes back into Production." in done.text
            last = read_ledger(engine)[-1]
            assert (last.action, last.challenger_version, last.reason) == ("rollback", versions[0], "lists are odd")
            assert last.actor.startswith("user:")
            assert all(entry.reason in unescape(done.text) for entry in read_ledger(engine))
            assert re.findall(r"<b>Promote version (\d+)\?</b>", done.text) == [str(versions[2])]
            wait_for(lambda: client.get("/health/ready").json()["model_version"] == versions[0])
            detail = client.get(f"/ops/decisions/{last.decision_id}", headers=HTML).text
            assert "lists are odd" in detail
            assert "This version has no model card." in detail
            assert client.get("/ops/decisions/999999", headers=HTML).status_code == 404
            with engine.connect() as connection:
                n_refused = connection.execute(select(func.count()).select_from(quarantine)).scalar_one()
                assert sum(read_overview(connection, registry.model_name).quarantined.values()) == n_refused


BODY = "**better**\n\n| slice | users |\n|---|---|\n| new <script>alert(1)</script> | 12 |\n\n- run: https://mlflow.example/run\n"


@pytest.mark.local
def test_waiting_approvals_are_shown_with_time_left_and_answered_once(
    settings: Settings, registry: Registry, model_folders: dict[int, Path]
) -> None:
    versions = [register(registry, model_folders[1], f"2026-01-0{number}") for number in (1, 2, 3)]
    with open_engine(settings) as engine:
        record_decision(engine, registry, decide(0.1), run_key="first", challenger=versions[0], champion=None)
        for number, version in enumerate(versions[1:], start=2):
            store_request(
                engine, registry, run_key=f"2026-01-0{number}/a", challenger=version, champion=versions[0],
                decision=decide(0.0), body=BODY,
            )  # fmt: skip
        keyed = {"api_keys": (SecretStr("boss-key"),), "model_name": registry.model_name, "database_seconds": 20}
        with open_client(settings.model_copy(update=keyed), registry) as client:  # type: ignore[arg-type]
            page = log_in(client, "boss-key").text
            assert [f"Promote version {version}?" in page for version in versions] == [False, True, True]
            assert f"1 day left; without an answer version {versions[0]} stays in Production." in page
            assert "<td>new &lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
            assert '<a href="https://mlflow.example/run">' not in page  # text, not a link that nobody wrote as one
            assert "<script>alert" not in page

            form = {"token": find_token(page), "reason": "lists look good"}
            path = "/ops/approvals/2026-01-02/a"
            assert client.post(path, data={**form, "answer": "approve", "token": "x"}, headers=HTML).status_code == 403
            assert client.post(path, data={**form, "answer": "approve", "reason": ""}, headers=HTML).status_code == 422
            assert client.post(path, data={**form, "answer": "?"}, headers=HTML).status_code == 422
            done = client.post(path, data={**form, "answer": "approve"}, headers=HTML)
            assert f"Version {versions[1]} goes into Production." in done.text
            entry = read_ledger(engine)[-1]
            assert (entry.action, entry.challenger_version) == ("promote", versions[1])
            assert entry.actor.startswith("user:")
            assert "lists look good" in entry.reason
            again = client.post(path, data={**form, "answer": "refuse"}, headers=HTML)
            assert again.status_code == 409
            assert "was answered before" in again.text
            # The other was compared with a version that is no longer in Production.
            other = "/ops/approvals/2026-01-03/a"
            assert client.post(other, data={**form, "answer": "approve"}, headers=HTML).status_code == 409
            assert (
                client.post("/ops/approvals/none", data={**form, "answer": "refuse"}, headers=HTML).status_code == 409
            )
            wait_for(lambda: client.get("/health/ready").json()["model_version"] == versions[1])


def test_a_request_that_nobody_answered_in_time_says_so() -> None:
    at = NOW - RESPONSE_TIMEOUT
    waiting = [
        ApprovalRequest("week", "anime", 2, None, decide(0.1).to_dict(), "", created)
        for created in (at, at + dt.timedelta(hours=3, seconds=1))
    ]

    assert [(one.time_left, one.default) for one in show_waiting(waiting, NOW)] == [
        ("", "nothing stays in Production"),
        ("3 hours", "nothing stays in Production"),
    ]


def build_entry(action: str, evidence: dict[str, Any], hours: float = 1.0) -> LedgerEntry:
    at = NOW - dt.timedelta(hours=hours)
    return LedgerEntry(1, "2026-11-28", action, "gate", "because", 2, 1, evidence, at)


def build_overview(entry: LedgerEntry, hours: float = 1.0) -> Overview:
    at = NOW - dt.timedelta(hours=hours)
    return Overview((entry,), (ArrivalDay(dt.date(2026, 11, 27), 10, 300, at),), {}, ())


def test_health_is_the_worst_of_its_signals() -> None:
    good = build_entry("promote", decide(0.1).to_dict())

    assert assess(build_overview(good), FIGURES, [], NOW).word == "Healthy"
    assert assess(build_overview(good, hours=100), FIGURES, [], NOW).word == "Needs a look"
    assert assess(build_overview(good, hours=1000), FIGURES, [], NOW).word == "Degraded"
    assert assess(build_overview(build_entry("rollback", {})), FIGURES, [], NOW).word == "Needs a look"
    assert assess(build_overview(good), FIGURES, ["the registry does not answer"], NOW).word == "Degraded"
    failing = ServiceFigures(1000, 11, 0, None, None, None, None, None, None, 1, 0)
    assert assess(build_overview(good), failing, [], NOW).word == "Degraded"


def test_a_drawing_keeps_the_order_of_its_numbers() -> None:
    shown = show_decisions([build_entry("promote", decide(0.1).to_dict()), build_entry("keep", {"action": "?"})])

    plot = shown[0].plot
    assert plot is not None
    assert 0 < plot.margin_x < plot.zero < plot.low_x <= plot.mean_x <= plot.high_x < WIDTH
    assert plot.mean == pytest.approx(0.1, abs=0.01)
    assert shown[1].plot is None
