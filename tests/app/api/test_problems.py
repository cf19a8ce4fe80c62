import json
from typing import Any

import pytest

from app.guard.middleware import MAX_BODY_BYTES
from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client

JSON = {"Content-Type": "application/json"}
NO_MORE = "; no field has more than 10000"


def check_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/recommend/", 405),
        ("GET", "/items/77", 404),
        ("GET", "/items/-1", 422),
        ("GET", "/items/99999999999999999999", 422),
        ("GET", "/search", 422),
        ("GET", "/search?q=a&limit=0", 422),
    ],
)
def test_every_error_is_a_problem_document(client: TestClient, method: str, path: str, status: int) -> None:
    check_problem(client.request(method, path), status)


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", {422}),
        (b"{", {422}),
        (b"[]", {422}),
        (b'"text"', {422}),
        (b"\xff\xfe", {400, 422}),
        (b"[" * 100_000, {400, 422}),
        (b'{"a":' * 50_000, {400, 422}),
        (b'{"k": NaN}', {422}),
        (b'{"k": ' + b"9" * 5000 + b"}", {400, 422}),
        (b'{"user_preferences": {"Action": NaN}}', {422}),
        (b'{"user_preferences": {"Action": 1e999}}', {422}),
        (b'{"user_input": "\\ud800"}', {404, 422}),
        (b'{"user_input": "\\u0000"}', {404}),
        ('{"user_input": "\u202egnip"}'.encode(), {404}),
        (b'{"user_input": "\'; DROP TABLE otaku.users; --"}', {404}),
        (b'{"user_preferences": {"\\ud800": 1}}', {422}),
        (b'{"filters": {"type": ["\\ud800"]}}', {422}),
        (b'{"\\ud800": 1}', {422}),
        (b'{"<script>alert(1)</script>": 1}', {422}),
    ],
)
def test_a_hostile_body_is_refused_and_never_an_error_of_the_service(
    shared_client: TestClient, body: bytes, statuses: set[int]
) -> None:
    response = shared_client.post("/recommend/", content=body, headers=JSON)

    assert response.status_code in statuses, response.text
    check_problem(response, response.status_code)
    assert "<script>" not in response.text


def test_a_body_over_the_limit_is_refused_with_and_without_a_declared_length(client: TestClient) -> None:
    large = b" " * (MAX_BODY_BYTES + 1)

    check_problem(client.post("/recommend/", content=large, headers=JSON), 413)
    check_problem(client.post("/recommend/", content=iter([large[:-9], large[-9:]]), headers=JSON), 413)
    assert client.post("/recommend/", content=b"{}" + large[:-3], headers=JSON).status_code == 200


def test_ten_thousand_ratings_fit(client: TestClient) -> None:
    ratings = {str(10**9 + number): 7 for number in range(9_999)} | {"1": 9}

    response = client.post("/recommend/", content=json.dumps({"ratings": ratings}), headers=JSON)

    assert response.status_code == 200
    assert len(response.json()["ignored_item_ids"]) == 9_999


def test_an_unexpected_error_is_a_500_without_a_stack_trace(
    client: TestClient, source: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("app.responses.recommend", fail)

    response = client.post("/recommend/", json={})

    problem = check_problem(response, 500)
    assert "secret" not in response.text
    assert problem["type"] == "about:blank"


def test_a_plain_request_id_is_kept_and_any_other_replaced(client: TestClient) -> None:
    kept = client.post("/recommend/", json={}, headers={"X-Request-ID": "abc-123"})
    replaced = client.get("/health/live", headers={"X-Request-ID": "a b\tc" * 50})

    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "abc-123"
    assert len(replaced.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ({f"k{n}": 1 for n in range(40_000)}, "body", "40000 fields; no request has more than 100"),
        ({"filters": {f"k{n}": 1 for n in range(40_000)}}, "body.filters", "40000 entries" + NO_MORE),
        ({"filters": {f"k{n}": 1 for n in range(900)}}, "body.filters", "900 fields; no request has more than 100"),
        ({"ratings": {str(n): "x" for n in range(9_000)}}, "body", "wrong in 9000 places"),
        ({"ratings": {str(n): 7 for n in range(40_000)}}, "body.ratings", "40000 entries" + NO_MORE),
        ({"liked": [None] * 40_000}, "body.liked", "40000 entries" + NO_MORE),
    ],
)
def test_a_body_that_is_wrong_in_thousands_of_places_is_one_error(
    client: TestClient, body: dict[str, Any], place: str, message: str
) -> None:
    problem = check_problem(client.post("/recommend/", json=body), 422)
    assert problem["errors"] == [{"field": place, "message": message}]


def test_other_hosts_are_not_answered(client: TestClient, source: FolderSource, offline_settings: Settings) -> None:
    for host in ("evil.example", "evil.example:8080", "", "127.0.0.1.evil.example", "localhost@evil.example"):
        assert check_problem(client.get("/model", headers={"Host": host}), 421)["type"].endswith(":unknown-host")
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"):
        assert client.get("/model", headers={"Host": host}).status_code == 200
    settings = offline_settings.model_copy(update={"allowed_hosts": ("anime.example",)})
    with open_client(settings, source) as named:
        assert named.get("/model", headers={"Host": "anime.example"}).status_code == 200
        assert named.get("/model").status_code == 421
    with open_client(offline_settings.model_copy(update={"host": "0.0.0.0"}), source) as anywhere:  # noqa: S104
        assert anywhere.get("/model", headers={"Host": "10.0.0.7:8080"}).status_code == 200
