import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, func, select, text

from recsys.settings import Settings
from recsys.storage.tables import feedback, users
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus
from tests.app.harness import FolderSource, RedisServer, TestClient, open_client
from tests.factories import tiny_world

pytestmark = pytest.mark.local
CATALOG, INTERACTIONS = tiny_world()
USER = 7


@pytest.fixture
def settings(database_url: str, engine: Engine, offline_settings: Settings) -> Settings:
    return offline_settings.model_copy(update={"database_url": SecretStr(database_url)})


@pytest.fixture
def client(settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    with open_client(settings, source) as opened:
        yield opened


def recommend(client: TestClient, user_id: int, k: int = 100) -> list[int]:
    response = client.post("/recommend/", json={"user_input": user_id, "k": k}).json()
    assert response["kind"] == "existing_user", response
    return [item["item_id"] for item in response["recommendations"]]


def send(client: TestClient, *events: dict[str, Any]) -> dict[str, Any]:
    complete = [{"idempotency_key": f"e-{place}", "user_id": USER, **event} for place, event in enumerate(events)]
    response = client.post("/feedback", json={"events": complete})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_a_registration_that_comes_again_with_its_key_is_the_same_user(client: TestClient, engine: Engine) -> None:
    key = {"Idempotency-Key": "sign-up-1"}
    first = client.post("/users", json={"ratings": {"1": 9, "999999": 4}}, headers=key)
    again = client.post("/users", json={"ratings": {"999999": 4, "1": 9}}, headers=key)
    other = client.post("/users", json={"ratings": {"1": 8}}, headers=key)
    plain = client.post("/users", json={"ratings": {"1": 9}})

    assert (first.status_code, again.status_code, plain.status_code) == (201, 201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert plain.json()["user_id"] != first.json()["user_id"]
    assert (other.status_code, other.json()["type"]) == (409, "urn:otaku:problem:idempotency-key-reused")
    assert client.post("/users", json={}, headers={"Idempotency-Key": "no spaces"}).status_code == 422
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).where(users.c.batch_id == "service")) == 2
    assert client.delete(first.headers["location"]).status_code == 204
    assert client.post("/users", json={}, headers=key).status_code == 201


def test_a_title_that_is_registered_with_0_is_watched_and_not_rated(client: TestClient) -> None:
    registered = client.post("/users", json={"ratings": {"1": 9, "30": 0, "999999": 0}})
    assert registered.status_code == 201
    assert (registered.json()["n_ratings"], registered.json()["ignored_item_ids"]) == (1, [999999])
    stored = client.get(registered.headers["Location"]).json()
    assert (stored["ratings"], stored["statuses"]) == ({"1": 9}, {"30": "completed"})
    found = client.post("/recommend/", json={"user_input": stored["user_id"], "k": 100}).json()
    assert not {1, 30} & {entry["item_id"] for entry in found["recommendations"]}


def test_registrations_with_one_key_at_once_make_one_user(client: TestClient) -> None:
    def register(_: int) -> int:
        return int(client.post("/users", json={}, headers={"Idempotency-Key": "k"}).json()["user_id"])

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(register, range(8)))) == 1


def test_idempotency_keys_belong_to_a_client(settings: Settings, source: FolderSource) -> None:
    keyed = settings.model_copy(update={"api_keys": (SecretStr("one"), SecretStr("two"))})
    event = {"idempotency_key": "e", "user_id": USER, "item_id": 19, "kind": "click"}
    with open_client(keyed, source) as client:
        found = []
        for api_key in ("one", "two"):
            headers = {"X-API-Key": api_key, "Idempotency-Key": "k"}
            user_id = client.post("/users", json={}, headers=headers).json()["user_id"]
            counted = client.post("/feedback", json={"events": [event]}, headers=headers).json()["n_written"]
            found.append((user_id, counted))
    assert found[0][0] != found[1][0]
    assert [counted for _, counted in found] == [1, 1]


def test_an_event_with_a_known_key_and_other_content_is_refused_with_its_batch(
    client: TestClient, engine: Engine
) -> None:
    send(client, {"idempotency_key": "a", "item_id": 19, "kind": "rating", "rating": 8})
    event = {"idempotency_key": "a", "user_id": USER, "item_id": 19, "kind": "rating", "rating": 3}
    fresh = {"idempotency_key": "b", "user_id": USER, "item_id": 19, "kind": "click"}
    refused = client.post("/feedback", json={"events": [fresh, event]})
    within = client.post("/feedback", json={"events": [fresh, {**fresh, "item_id": 1}]})

    for response in (refused, within):
        assert (response.status_code, response.json()["type"]) == (409, "urn:otaku:problem:idempotency-key-reused")
    assert "'a'" in refused.json()["detail"]
    with engine.connect() as connection:
        assert connection.scalars(select(feedback.c.idempotency_key)).all() == ["a"]


def test_a_user_registers_gets_recommendations_and_is_deleted_completely(client: TestClient, engine: Engine) -> None:
    response = client.post("/users", json={"ratings": {"1": 9, "5114": 10, "999999": 4}})

    assert response.status_code == 201
    registered = response.json()
    user_id = registered["user_id"]
    assert response.headers["location"] == f"/users/{user_id}"
    assert (registered["n_ratings"], registered["ignored_item_ids"]) == (2, [999999])
    assert not {1, 5114} & set(recommend(client, user_id))

    shown = client.get(f"/users/{user_id}").json()
    assert shown["ratings"] == {"1": 9, "5114": 10}
    assert shown["genre_shares"] == {"Action": 1.0, "Shounen": 0.5, "Space": 0.5}

    send(client, {"user_id": user_id, "item_id": 19, "kind": "click"})
    assert client.delete(f"/users/{user_id}").status_code == 204
    assert client.delete(f"/users/{user_id}").status_code == 404
    assert client.get(f"/users/{user_id}").json()["type"] == "urn:otaku:problem:unknown-user"
    assert client.post("/recommend/", json={"user_input": user_id}).json()["kind"] == "new_user"
    with engine.connect() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'otaku'")).all()
        dump = [connection.execute(text(f"SELECT * FROM otaku.{name}")).all() for name in tables]  # noqa: S608
    assert str(user_id) not in repr(dump)


def test_dismissed_and_rated_titles_are_gone_from_the_next_list(client: TestClient) -> None:
    first, second, *rest = recommend(client, USER)

    report = send(
        client,
        {"item_id": first, "kind": "impression", "rank": 1, "propensity": 0.9, "model_version": 1},
        {"item_id": first, "kind": "dismissal", "rank": 1},
        {"item_id": second, "kind": "rating", "rating": 3},
    )
    response = client.post("/recommend/", json={"user_input": USER, "k": 100}).json()

    assert report == {"n_written": 3, "n_known": 0, "unknown": []}
    assert {item["item_id"] for item in response["recommendations"]} == set(rest)
    assert {item["item_id"]: item["rating"] for item in response["watched"]}[second] == 3
    assert first not in [item["item_id"] for item in response["watched"]]
    popular = client.post("/recommend/", json={"user_input": USER, "algorithm": "popular", "k": 100}).json()
    assert {item["item_id"] for item in popular["recommendations"]} == set(rest)


def test_whole_ratings_may_be_written_as_floats(client: TestClient) -> None:
    response = client.post("/users", json={"ratings": {"1": 9.0, "5114": 10}})
    user_id = response.json()["user_id"]
    assert client.get(f"/users/{user_id}").json()["ratings"] == {"1": 9, "5114": 10}
    send(client, {"item_id": 1, "kind": "rating", "rating": 4.0, "user_id": user_id})
    assert client.get(f"/users/{user_id}").json()["ratings"] == {"1": 4, "5114": 10}


@pytest.mark.parametrize("rating", [-1, 11, 8.5, "8", True])
def test_a_stored_rating_is_a_whole_number_up_to_10(client: TestClient, rating: object) -> None:
    assert client.post("/users", json={"ratings": {"1": rating}}).status_code == 422


def test_a_batch_that_is_sent_again_counts_once(client: TestClient, engine: Engine) -> None:
    events = [{"item_id": 1, "kind": "click"}, {"item_id": 999999, "kind": "click"}]

    assert send(client, *events) == {"n_written": 1, "n_known": 0, "unknown": ["e-1"]}
    assert send(client, *events) == {"n_written": 0, "n_known": 1, "unknown": ["e-1"]}
    with engine.connect() as connection:
        assert connection.scalars(select(func.count()).select_from(feedback)).one() == 1


@pytest.mark.parametrize(
    "event",
    [
        {"item_id": 1, "kind": "rating"},
        {"item_id": 1, "kind": "click", "rating": 5},
        {"item_id": 1, "kind": "liked"},
        {"item_id": -1, "kind": "click"},
        {"item_id": 1, "kind": "click", "propensity": 0},
        {"item_id": 1, "kind": "click", "propensity": float("nan")},
        {"item_id": 1, "kind": "click", "rank": 0},
        {"item_id": 1, "kind": "click", "idempotency_key": "\x00"},
        {"item_id": 1, "kind": "click", "more": 1},
    ],
)
def test_an_event_that_makes_no_sense_is_refused_with_its_batch(client: TestClient, event: dict[str, Any]) -> None:
    good = {"idempotency_key": "good", "user_id": USER, "item_id": 1, "kind": "click"}
    body = json.dumps({"events": [good, {"idempotency_key": "bad", "user_id": USER, **event}]})
    response = client.post("/feedback", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert send(client, {"item_id": 1, "kind": "click", "idempotency_key": "good"})["n_written"] == 1


def test_an_answer_is_given_again_from_the_cache_until_the_user_changes(client: TestClient, engine: Engine) -> None:
    def ask() -> tuple[dict[str, Any], str]:
        response = client.post("/recommend/", json={"user_input": USER})
        body: dict[str, Any] = response.json()
        assert body.pop("request_id") == response.headers["x-request-id"]
        hits = re.search(r'otaku_cache_requests_total{result="hit"} (\S+)', client.get("/metrics").text)
        return body, hits[1] if hits else "0.0"

    first, _ = ask()
    again, hits = ask()
    assert (again, hits) == (first, "1.0")

    top = first["recommendations"][0]["item_id"]
    with engine.begin() as connection:  # another process writes: the service is not notified
        connection.execute(text(f"INSERT INTO otaku.ratings VALUES ({USER}, {top}, 10)"))  # noqa: S608
    changed, hits = ask()
    assert hits == "1.0"
    assert top not in [item["item_id"] for item in changed["recommendations"]]


def test_instances_share_answers_in_redis_and_do_without_it(
    settings: Settings, source: FolderSource, redis_server: RedisServer
) -> None:
    shared = settings.model_copy(update={"redis_url": SecretStr(redis_server.url)})
    with open_client(shared, source) as one, open_client(shared, source) as other:
        expected = recommend(one, USER)
        assert recommend(other, USER) == expected
        assert 'otaku_cache_requests_total{result="hit"} 1.0' in other.get("/metrics").text
        redis_server.stop()
        assert recommend(other, USER) == expected
        assert other.get("/health/ready").status_code == 200
        send(one, {"item_id": expected[0], "kind": "dismissal"})
        redis_server.start()
        assert set(recommend(other, USER)) == set(expected[1:])


def test_without_a_database_nothing_is_written_and_it_is_said_at_once(
    offline_settings: Settings, source: FolderSource
) -> None:
    event = {"idempotency_key": "a", "user_id": 1, "item_id": 1, "kind": "click"}
    with open_client(offline_settings, source) as client:
        for method, path, body in (
            ("POST", "/users", {}),
            ("GET", "/users/1", None),
            ("DELETE", "/users/1", None),
            ("POST", "/feedback", {"events": [event]}),
        ):
            response = client.request(method, path, json=body)
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
        assert client.get("/health/ready").json()["problems"] == ["the database does not answer"]


def test_an_id_outside_the_tables_is_an_unknown_user(client: TestClient) -> None:
    assert client.get("/users/999999").status_code == 404
    assert client.delete("/users/999999").status_code == 404
    assert client.get(f"/users/{2**63}").status_code == 422


def test_what_a_member_watched_without_a_rating_is_in_no_list_of_the_group(client: TestClient, engine: Engine) -> None:
    def list_group() -> list[dict[str, Any]]:
        found = client.post("/recommend/group", json={"members": [{"user_input": USER}, {}], "k": 5, "seasons": "all"})
        listed: list[dict[str, Any]] = found.json()["recommendations"]
        return listed

    def open_page() -> str:
        return client.get(f"/?mode=together&person={USER}&person=Monster&seasons=all").text

    watched = next(item for item in list_group() if f'href="/titles/{item["item_id"]}' in open_page())
    with engine.begin() as connection:
        store_list(connection, USER, {}, {watched["item_id"]: WatchStatus.Completed})
    assert watched["item_id"] not in [item["item_id"] for item in list_group()]
    assert f'href="/titles/{watched["item_id"]}' not in open_page()
