import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, func, select

from recsys.settings import Settings
from recsys.storage.tables import ratings, watch_statuses
from tests.app.harness import FolderSource, TestClient, open_client
from tests.factories import tiny_world
from tests.list_files import build_mal_entry, build_mal_xml
from tests.recsys.data.lists.mutations import mutate_files

pytestmark = pytest.mark.local
CATALOG, INTERACTIONS = tiny_world()
USER = 7
LIST = build_mal_xml(
    build_mal_entry(1, "Cowboy Bebop", 9, "Completed"),
    build_mal_entry(6, "Trigun", 0, "Completed"),
    build_mal_entry(19, "Monster", 3, "Dropped"),
    build_mal_entry(20, "Naruto", 0, "Plan to Watch"),
    build_mal_entry(0, "Revolutionary Girl Utena", 8, "Watching"),
    build_mal_entry(999_999_999, "A title that no catalog has", 7, "Completed"),
    build_mal_entry(1, "Cowboy Bebop", 10, "Completed"),
)


@pytest.fixture
def settings(database_url: str, engine: Engine, offline_settings: Settings) -> Settings:
    return offline_settings.model_copy(update={"database_url": SecretStr(database_url)})


@pytest.fixture
def client(settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    with open_client(settings, source) as opened:
        yield opened


def upload(client: TestClient, content: bytes | str, key: str | None = None, **form: Any) -> Any:
    raw = content.encode() if isinstance(content, str) else content
    headers = {"X-API-Key": key} if key else {}
    return client.post("/import", files={"file": ("list", raw)}, data=form, headers=headers)


def count(engine: Engine) -> tuple[int, int]:
    with engine.connect() as connection:
        numbers = [connection.scalar(select(func.count()).select_from(table)) for table in (ratings, watch_statuses)]
    return int(numbers[0] or 0), int(numbers[1] or 0)


def recommend(client: TestClient, **payload: Any) -> list[int]:
    response = client.post("/recommend/", json={"k": 100, **payload})
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["recommendations"]]


def test_a_preview_tells_what_the_list_holds_and_stores_nothing(client: TestClient, engine: Engine) -> None:
    before = count(engine)
    # More than the body of any other request may have.
    long = LIST.replace("</myanimelist>", f"<!-- {'x' * 1_500_000} --></myanimelist>").encode()
    for content in (LIST.encode(), gzip.compress(LIST.encode()), long):
        response = upload(client, content).json()
        assert response["format"] == "myanimelist-xml"
        assert (response["score_format"], response["n_entries"]) == ("POINT_10", 7)
        assert [
            (item["item_id"], item["rating"], item["status"], item["matched_by"]) for item in response["entries"]
        ] == [
            (1, 10, "completed", "id"),
            (6, None, "completed", "id"),
            (19, 3, "dropped", "id"),
            (20, None, "planned", "id"),
            (440, 8, "watching", "title"),
        ]
        assert response["statuses"] == {"completed": 2, "dropped": 1, "planned": 1, "watching": 1}
        assert [item["item_id"] for item in response["unmatched"]] == [999_999_999]
        assert [(item["item_id"], item["rating"]) for item in response["duplicates"]] == [(1, 9)]
        assert response["stored"] is None
    assert upload(client, LIST, user_id=USER).json()["stored"] is None
    assert count(engine) == before


def test_a_list_is_recommended_from_without_being_stored(client: TestClient, engine: Engine) -> None:
    before = count(engine)
    preview = upload(client, LIST).json()["entries"]
    entries = [{name: item[name] for name in ("item_id", "rating", "status")} for item in preview]
    response = client.post("/recommend/", json={"list": entries, "k": 100}).json()
    shown = [item["item_id"] for item in response["recommendations"]]
    assert response["kind"] == "new_user_with_history"
    assert {item["item_id"]: item["rating"] for item in response["watched"]} == {1: 10, 19: 3, 440: 8}
    assert not {1, 6, 19, 20, 440} & set(shown)
    assert len(shown) == len(CATALOG) - 6  # one is for adults only
    # The same tastes as ratings give the same list, but for what is only listed.
    rated = recommend(client, ratings={"1": 10, "19": 3, "440": 8})
    assert [item_id for item_id in rated if item_id not in (6, 20)] == shown
    assert count(engine) == before


def test_planned_titles_come_first_by_choice(client: TestClient) -> None:
    entries = [
        {"item_id": 1, "rating": 10},
        {"item_id": 20, "status": "planned"},
        {"item_id": 30, "status": "planned"},
        {"item_id": 6, "status": "on_hold"},
        {"item_id": 5114, "rating": 2, "status": "planned"},
    ]
    assert not {20, 30, 6} & set(recommend(client, list=entries))
    first = recommend(client, list=entries, planned="first")
    assert set(first[:2]) == {20, 30}
    assert not {1, 6, 5114} & set(first)
    assert first[2:] == recommend(client, list=entries)
    assert len(recommend(client, list=entries, planned="first", k=1)) == 1
    films = recommend(client, list=entries, planned="first", filters={"type": ["Movie"]})
    assert not {20, 30} & set(films)
    explained = client.post("/recommend/", json={"list": entries, "planned": "first", "explain": True, "k": 4}).json()[
        "recommendations"
    ]
    assert [item["rank"] for item in explained] == [1, 2, 3, 4]
    assert all(item["reasons"] for item in explained)


def test_the_list_of_a_request_is_checked(client: TestClient) -> None:
    for wrong in ({"item_id": -1}, {"item_id": 1, "rating": 11}, {"item_id": 1, "status": "seen"}, {}, {"id": 1}):
        assert client.post("/recommend/", json={"list": [wrong]}).status_code == 422
    assert client.post("/recommend/", json={"planned": "last"}).status_code == 422
    similar = client.post("/recommend/", json={"user_input": "Monster", "list": [{"item_id": 1}]})
    assert (similar.status_code, similar.json()["type"]) == (422, "urn:otaku:problem:contradiction")
    assert "list cannot be combined" in similar.json()["detail"]
    unknown = client.post("/recommend/", json={"list": [{"item_id": 10**18}, {"item_id": 0}], "k": 3}).json()
    assert unknown["ignored_item_ids"] == [0, 10**18]
    assert client.post("/recommend/", json={"list": None}).status_code == 200


def test_a_list_is_stored_once_and_changes_what_is_shown_at_once(client: TestClient, engine: Engine) -> None:
    assert 6 in recommend(client, user_input=USER) or 6 in client.get(f"/users/{USER}").json()["ratings"]
    response = upload(client, LIST, store="true", user_id=USER)
    assert response.status_code == 200, response.text
    stored = response.json()["stored"]
    assert (stored["user_id"], stored["n_statuses"], stored["ignored_item_ids"]) == (USER, 5, [])
    again = upload(client, LIST, store="true", user_id=USER).json()["stored"]
    assert (again["n_ratings"], again["n_statuses"]) == (0, 0)
    user = client.get(f"/users/{USER}").json()
    assert user["statuses"] == {
        "1": "completed", "6": "completed", "19": "dropped", "20": "planned", "440": "watching",
    }  # fmt: skip
    assert [user["ratings"][item] for item in ("1", "19", "440")] == [10, 3, 8]
    assert not {1, 6, 19, 20, 440} & set(recommend(client, user_input=USER))
    if "20" not in user["ratings"]:
        assert recommend(client, user_input=USER, planned="first")[0] == 20

    assert client.delete(f"/users/{USER}").status_code == 204
    with engine.connect() as connection:
        left = select(func.count()).where(watch_statuses.c.user_id == USER)
        assert connection.scalar(left) == 0


def test_feedback_names_titles_as_seen_or_planned(client: TestClient) -> None:
    registered = client.post("/users", json={"ratings": {"1": 9}}).json()["user_id"]
    events = [
        {"idempotency_key": f"{registered}-{kind}", "user_id": registered, "item_id": item_id, "kind": kind}
        for item_id, kind in ((6, "seen"), (20, "plan"))
    ]
    assert client.post("/feedback", json={"events": events}).json()["n_written"] == 2
    assert client.get(f"/users/{registered}").json()["statuses"] == {"6": "completed", "20": "planned"}
    assert not {6, 20} & set(recommend(client, user_input=registered))
    assert recommend(client, user_input=registered, planned="first")[0] == 20


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b'<!DOCTYPE m [<!ENTITY a "b">]><myanimelist>&a;</myanimelist>', 422, "unreadable-list"),
        (b"no list", 422, "unreadable-list"),
        (gzip.compress(bytes(61 << 20), 1), 413, "list-too-large"),
        (bytes(50 << 20), 413, "body-too-large"),
    ],
    ids=["entities", "no-list", "bomb", "50-mb"],
)
def test_hostile_files_end_in_a_problem_and_store_nothing(
    client: TestClient, engine: Engine, content: bytes, status: int, kind: str
) -> None:
    before = count(engine)
    response = upload(client, content, store="true", user_id=USER)
    assert (response.status_code, response.json()["type"]) == (status, f"urn:otaku:problem:{kind}")
    assert response.headers["content-type"] == "application/problem+json"
    assert count(engine) == before


def test_what_cannot_be_stored_is_told(client: TestClient, engine: Engine) -> None:
    before = count(engine)
    unknown = upload(client, LIST, store="true", user_id=10**9)
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:otaku:problem:unknown-user")
    assert upload(client, LIST, store="true").status_code == 422
    assert upload(client, LIST, store="maybe", user_id=USER).status_code == 422
    assert upload(client, LIST, score_format="POINT_7").status_code == 422
    assert client.post("/import", data={"store": "false"}).status_code == 422
    assert client.post("/import", content=b"x" * 100).status_code == 422
    assert client.post("/import", content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 400
    assert count(engine) == before


def test_storing_needs_the_scope_write(settings: Settings, source: FolderSource, engine: Engine) -> None:
    keys = [SecretStr("reader:recommend"), SecretStr("writer:recommend+write")]
    before = count(engine)
    with open_client(settings.model_copy(update={"api_keys": keys}), source) as client:
        assert upload(client, LIST).status_code == 401
        assert upload(client, LIST, "reader").status_code == 200
        refused = upload(client, LIST, "reader", store="true", user_id=USER)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:otaku:problem:scope-required")
        assert count(engine) == before
        assert upload(client, LIST, "writer", store="true", user_id=USER).status_code == 200
    assert count(engine)[1] == before[1] + 5


def test_damaged_files_are_no_error_of_the_service(client: TestClient) -> None:
    statuses = [upload(client, content).status_code for content in mutate_files(150, seed=4)]
    assert set(statuses) == {200, 422}


@pytest.mark.e2e
def test_ten_thousand_damaged_files_are_no_error_of_the_service(client: TestClient, engine: Engine) -> None:
    statuses = {upload(client, content, store="true", user_id=USER).status_code for content in mutate_files(10_000, 5)}
    assert statuses <= {200, 413, 422}
    assert count(engine)[0] >= len(INTERACTIONS)
