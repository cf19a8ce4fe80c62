from collections.abc import Iterable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from pydantic import SecretStr
from starlette.routing import BaseRoute, Route

from app.guard.keys import GuardedRoute, require_scopes
from app.main import create_app
from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client

PUBLIC = {"/health/live", "/health/ready", "/docs", "/docs/{name}", "/redoc", "/openapi.json"}
JSON = {"Content-Type": "application/json"}
KEYS = (SecretStr("first-key"), SecretStr("zweiter-schlüssel"))


@pytest.fixture
def locked(offline_settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    with open_client(offline_settings.model_copy(update={"api_keys": KEYS}), source) as opened:
        yield opened


def walk_routes(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        nested = getattr(route, "routes", None)
        if nested is not None:
            yield from walk_routes(nested)
        else:
            assert isinstance(route, Route), f"{route} is neither guarded nor known"
            yield route


def is_guarded(dependant: Dependant) -> bool:
    return any(part.call is require_scopes or is_guarded(part) for part in dependant.dependencies)


def test_every_route_outside_the_public_list_asks_for_a_key(offline_settings: Settings, source: FolderSource) -> None:
    app: FastAPI = create_app(offline_settings.model_copy(update={"pages": "off"}), source=source)
    routes = list(walk_routes(app.routes))
    open_paths = {
        route.path for route in routes if not (isinstance(route, GuardedRoute) and is_guarded(route.dependant))
    }

    assert open_paths <= PUBLIC
    assert {"/recommend/", "/recommend", "/model", "/metrics", "/search"} <= {
        route.path for route in routes
    } - open_paths


@pytest.mark.parametrize("path", ["/model", "/metrics", "/search?q=a", "/items/1", "/items/1/similar"])
def test_without_the_right_key_nothing_opens(locked: TestClient, path: str) -> None:
    for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": "first"}, {"Authorization": "Bearer wrong"}):
        response = locked.get(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"
    assert locked.get(path, headers={"X-API-Key": "first-key"}).status_code == 200
    assert locked.get(path, headers={"Authorization": "Bearer first-key"}).status_code == 200


def test_a_body_is_not_looked_at_before_the_key(locked: TestClient) -> None:
    assert locked.post("/recommend/", json={"k": 1000}).status_code == 401
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"a":' * 50_000):
        assert locked.post("/recommend/", content=body, headers=JSON).status_code == 401
        assert locked.post("/recommend/", content=body, headers=JSON | {"X-API-Key": "first-key"}).status_code in (
            400,
            422,
        )
    assert locked.post("/recommend/", json={}, headers={"X-API-Key": "first-key"}).status_code == 200


def test_malformed_bodies_count_against_the_limit(offline_settings: Settings, source: FolderSource) -> None:
    with open_client(offline_settings.model_copy(update={"rate_limit": "3/hour"}), source) as limited:
        found = [limited.post("/recommend/", content=b"{", headers=JSON).status_code for _ in range(4)]
    assert found == [422, 422, 422, 429]


def test_a_key_may_hold_any_letters(locked: TestClient) -> None:
    key = "zweiter-schlüssel"

    assert locked.get("/model", headers={"X-API-Key": key.encode()}).status_code == 200
    assert locked.get("/model", headers={"X-API-Key": b"\xff\xfe"}).status_code == 401


def test_health_and_documentation_are_open(locked: TestClient) -> None:
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert locked.get(path).status_code == 200


def test_the_page_asks_for_a_key_only_where_one_is_needed(locked: TestClient, client: TestClient) -> None:
    guarded, unguarded = (opened.get("/openapi.json").json() for opened in (locked, client))

    assert {"X-API-Key"} < {scheme.get("name", "") for scheme in guarded["components"]["securitySchemes"].values()}
    assert "401" in guarded["paths"]["/model"]["get"]["responses"]
    assert "securitySchemes" not in unguarded["components"]
    assert "security" not in unguarded["paths"]["/model"]["get"]
    assert "401" not in unguarded["paths"]["/model"]["get"]["responses"]


def test_no_key_appears_in_the_settings_or_the_page(locked: TestClient) -> None:
    assert "first-key" not in repr(KEYS)
    assert "first-key" not in locked.get("/openapi.json").text
