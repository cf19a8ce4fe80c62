"""Scopes, limits, headers and time: what stands between the network and the model."""

import asyncio
import hashlib
import threading
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send

from app.guard.keys import ApiKeys
from app.guard.middleware import RequestContext, RequestLimits
from app.guard.workers import OverloadedError, Workers
from app.metrics import ServiceMetrics
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings
from recsys.storage.api_keys import create_api_key, read_api_keys, revoke_api_keys
from recsys.storage.database import create_database_engine
from tests.app.harness import FolderSource, RedisServer, TestClient, open_client, wait_for

HASHED = hashlib.sha256(b"hashed-key").hexdigest()
# Limits are by the day wherever they are used up: their windows begin on the clock, and a minute may end meanwhile.
KEYS = (
    "reader:recommend",
    "writer:write",
    "both:recommend+write:2/day",
    "boss",
    "scraper:metrics",
    f"sha256={HASHED}:recommend",
)


def with_keys(settings: Settings, *keys: str, **values: Any) -> Settings:
    return settings.model_copy(update={"api_keys": tuple(map(SecretStr, keys)), **values})


def ask(client: TestClient, method: str, path: str, key: str) -> int:
    body = {"events": [{"idempotency_key": "a", "user_id": 1, "item_id": 1, "kind": "click"}]}
    headers = {"X-API-Key": key}
    response = client.request(method, path, headers=headers, json=body if method == "POST" else None)
    assert response.status_code < 400 or response.headers["content-type"] == "application/problem+json"
    return response.status_code


def test_a_key_opens_what_its_scopes_say(offline_settings: Settings, source: FolderSource) -> None:
    with open_client(with_keys(offline_settings, *KEYS), source) as client:
        found = {
            key: [
                ask(client, "GET", "/model", key),
                ask(client, "POST", "/feedback", key),
                ask(client, "GET", "/metrics", key),
            ]
            for key in ("reader", "writer", "boss", "scraper", "hashed-key", HASHED, "stranger")
        }

    # 503: past the guard, and there is no database here.
    assert found == {
        "reader": [200, 403, 403],
        "writer": [403, 503, 403],
        "boss": [200, 503, 200],
        "scraper": [403, 403, 200],
        "hashed-key": [200, 403, 403],
        HASHED: [401, 401, 401],
        "stranger": [401, 401, 401],
    }


def test_a_key_may_have_a_limit_of_its_own(offline_settings: Settings, source: FolderSource) -> None:
    with open_client(with_keys(offline_settings, *KEYS), source) as client:
        found = [client.get("/model", headers={"X-API-Key": "both"}) for _ in range(3)]
        others = [client.get("/model", headers={"X-API-Key": "reader"}) for _ in range(3)]

    assert [response.status_code for response in found] == [200, 200, 429]
    assert found[0].headers["ratelimit-policy"] == '"default";q=2;w=86400'
    assert found[0].headers["ratelimit"].startswith('"default";r=1;t=')
    assert int(found[2].headers["retry-after"]) >= 1
    assert found[2].json()["type"] == "urn:otaku:problem:too-many-requests"
    assert [response.status_code for response in others] == [200, 200, 200]
    assert "ratelimit" not in others[0].headers


def test_an_open_service_counts_by_address_and_strangers_are_counted_too(
    offline_settings: Settings, source: FolderSource
) -> None:
    limited = {"rate_limit": "3/day"}
    with open_client(offline_settings.model_copy(update=limited), source) as client:
        assert [client.get("/model").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert client.get("/health/live").status_code == 200
    with open_client(with_keys(offline_settings, "boss", **limited), source) as client:
        assert [ask(client, "GET", "/model", f"guess-{number}") for number in range(4)] == [401, 401, 401, 429]
        assert ask(client, "GET", "/model", "boss") == 200


def test_a_limit_holds_over_instances_that_share_a_redis(
    offline_settings: Settings, source: FolderSource, redis_server: RedisServer
) -> None:
    shared = {"rate_limit": "3/day", "redis_url": SecretStr(redis_server.url)}
    settings = offline_settings.model_copy(update=shared)
    with open_client(settings, source) as one, open_client(settings, source) as other:
        assert [client.get("/model").status_code for client in (one, other, one, other)] == [200, 200, 200, 429]
        redis_server.stop()
        assert one.get("/model").status_code == 200


@pytest.mark.parametrize("entry", ["key:everything", ":recommend", "key:recommend:often", "key:recommend:1/second:x"])
def test_an_entry_that_makes_no_sense_is_refused_without_showing_the_key(
    offline_settings: Settings, entry: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ApiKeys(with_keys(offline_settings, entry))

    assert "key:" not in str(caught.value)


@pytest.mark.local
def test_keys_of_the_table_open_within_seconds_and_close_again(
    offline_settings: Settings, source: FolderSource, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.main.KEY_SECONDS", 0.02)
    settings = with_keys(offline_settings, "database", database_url=SecretStr(database_url))
    engine = create_database_engine(database_url)
    with open_client(settings, source) as client:
        assert ask(client, "GET", "/model", "database") == 401
        with engine.begin() as connection:
            key = create_api_key(connection, "a test", ["recommend"], "2/day")
            stored = read_api_keys(connection)
        assert key not in repr(stored)
        wait_for(lambda: ask(client, "GET", "/model", key) == 200)
        assert ask(client, "GET", "/metrics", key) in (403, 429)
        wait_for(lambda: ask(client, "GET", "/model", key) == 429)
        with engine.begin() as connection:
            assert revoke_api_keys(connection, "a test") == 1
            assert revoke_api_keys(connection, "a test") == 0
        wait_for(lambda: ask(client, "GET", "/model", key) == 401)
    engine.dispose()


def test_a_service_whose_keys_stand_in_a_database_that_is_away_stays_shut(
    offline_settings: Settings, source: FolderSource
) -> None:
    with open_client(with_keys(offline_settings, "database"), source) as client:
        assert ask(client, "GET", "/model", "any") == 401


@pytest.mark.local
def test_a_key_needs_scopes_that_exist(database_url: str) -> None:
    engine = create_database_engine(database_url)
    for scopes in ([], ["everything"]):
        with (
            pytest.raises(ConfigurationError, match="use recommend, write, metrics, admin"),
            engine.begin() as connection,
        ):
            create_api_key(connection, "a test", scopes)
    engine.dispose()


def test_every_answer_tells_browsers_to_be_careful(client: TestClient) -> None:
    for response in (client.get("/model"), client.post("/recommend/", json={"k": 0}), client.get("/nowhere")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["cache-control"] == "no-store"


def test_other_origins_may_ask_only_if_a_setting_says_so(
    client: TestClient, offline_settings: Settings, source: FolderSource
) -> None:
    origin = {"Origin": "https://a.example"}
    preflight = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    assert "access-control-allow-origin" not in client.get("/model", headers=origin).headers
    settings = offline_settings.model_copy(update={"cors_origins": ("https://a.example",)})
    with open_client(settings, source) as allowed:
        assert allowed.get("/model", headers=origin).headers["access-control-allow-origin"] == "https://a.example"
        assert allowed.options("/recommend/", headers=preflight).status_code == 200
        other = {"Origin": "https://b.example"}
        assert "access-control-allow-origin" not in allowed.get("/model", headers=other).headers


def test_errors_too_may_be_read_by_the_pages_of_an_allowed_origin(
    offline_settings: Settings, source: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    settings = offline_settings.model_copy(update={"cors_origins": ("https://a.example",)})
    origin = {"Origin": "https://a.example"}
    with open_client(settings, source) as client:
        monkeypatch.setattr("app.responses.recommend", fail)
        responses = {
            404: client.get("/nowhere", headers=origin),
            413: client.post("/recommend/", content=b"x" * (1 << 20 | 1), headers=origin),
            422: client.post("/recommend/", json={"k": 0}, headers=origin),
            500: client.post("/recommend/", json={}, headers=origin),
        }
    for status, response in responses.items():
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == "https://a.example"
        assert "X-Request-ID" in response.headers["access-control-expose-headers"]
        assert response.headers["x-request-id"] == response.json()["request_id"]
        assert response.headers["x-content-type-options"] == "nosniff"


def test_origins_and_keys_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTAKU_CORS_ORIGINS", "https://a.example, https://b.example")
    assert Settings(_env_file=None).cors_origins == ("https://a.example", "https://b.example")  # type: ignore[call-arg]


def test_more_than_can_be_done_in_time_is_turned_away_at_once(
    offline_settings: Settings, source: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def wait(*_: object, **__: object) -> None:
        go_on.wait(90)
        raise ZeroDivisionError

    settings = offline_settings.model_copy(update={"max_waiting": 2, "work_threads": 1})
    with open_client(settings, source) as client:
        monkeypatch.setattr("app.responses.recommend", wait)
        service = client.app.state.service  # type: ignore[attr-defined]
        threads = [threading.Thread(target=client.post, args=("/recommend/",), kwargs={"json": {}}) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: service.workers._waiting == 2)
        response = client.post("/recommend/", json={})
        live = client.get("/health/ready")
        still_waiting = service.workers._waiting
        go_on.set()
        for thread in threads:
            thread.join(90)

    assert (response.status_code, live.status_code) == (503, 200)
    assert response.json()["type"] == "urn:otaku:problem:overloaded"
    assert int(response.headers["retry-after"]) >= 1
    assert still_waiting == 2  # neither response had to wait for them


def test_work_that_waited_too_long_is_not_begun() -> None:
    async def scenario() -> list[Any]:
        with Workers(1, max_waiting=10, wait_seconds=90) as workers:
            first = asyncio.create_task(workers.run(lambda: begun.set() or go_on.wait(90)))
            assert await asyncio.to_thread(begun.wait, 90)
            workers._wait_seconds = 0.05
            others = [workers.run(lambda: done.append(None)) for _ in range(2)]
            turned_away = await asyncio.gather(*others, return_exceptions=True)
            go_on.set()
            return [await first, *turned_away]

    go_on = threading.Event()
    begun = threading.Event()
    done: list[None] = []
    first, *others = asyncio.run(scenario())

    assert first is True
    assert done == []
    assert [type(error) for error in others] == [OverloadedError] * 2


def call(application: Any, receive: Receive, **limits: float) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(RequestContext(RequestLimits(application, **limits), ServiceMetrics())(scope, receive, send))
    return sent


def test_a_body_that_trickles_in_is_given_up() -> None:
    async def trickle() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the body was not complete")

    assert call(never, trickle, body_seconds=0.1)[0]["status"] == 408


def test_an_answer_that_takes_for_ever_is_given_up() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def sleep(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(20)

    sent = call(sleep, receive, response_seconds=0.05)

    assert sent[0]["status"] == 503
    assert (b"retry-after", b"2") in sent[0]["headers"]
