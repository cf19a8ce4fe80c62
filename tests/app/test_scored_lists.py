"""Lists that were made beforehand: the service answers them exactly while they hold, and not a moment longer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, select

from recsys.distributed.scoring import Scoring, score_partition
from recsys.settings import Settings
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.scored_lists import read_scored_list, store_scored_lists
from recsys.storage.tables import scored_lists
from recsys.storage.users import delete_user
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus
from tests.app.harness import FolderSource, open_client
from tests.app.test_scores import USER_IDS, job

__all__ = ["job"]
pytestmark = pytest.mark.local
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def scored(job: Scoring) -> Scoring:
    """Lists of ten for all users but the last."""
    scoring = replace(job, k=10, stored=True)
    score_partition(scoring, 0, USER_IDS[:-1])
    return scoring


@pytest.fixture
def open_service(scored: Scoring, source: FolderSource) -> Iterator[Callable[..., TestClient]]:
    """Open a service with other settings; it computes lists itself unless told otherwise."""
    source.version = scored.version
    opened: list[Any] = []

    def open_one(**changes: Any) -> TestClient:
        settings: Settings = scored.settings.model_copy(update={"trial_seconds": 0, "cache_seconds": 0} | changes)
        context = open_client(settings, source)
        opened.append(context)
        return context.__enter__()

    yield open_one
    for context in reversed(opened):
        context.__exit__(None, None, None)


def ask(client: TestClient, user_id: int, **fields: Any) -> dict[str, Any]:
    answer = client.post("/recommend/", json={"user_input": user_id} | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    del body["request_id"]
    return body


def count_scored(client: TestClient) -> int:
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith('otaku_cache_requests_total{result="scored"}')]
    return int(float(found[0].split()[-1])) if found else 0


def test_stored_lists_are_answered_as_they_would_be_computed(open_service: Callable[..., TestClient]) -> None:
    computing, looking_up = open_service(), open_service(scored_lists=True)
    for user_id in USER_IDS:
        assert ask(looking_up, user_id) == ask(computing, user_id)
    assert count_scored(looking_up) == len(USER_IDS) - 1
    assert count_scored(computing) == 0
    # The defaults may be spelled out, as the first protocol did.
    ask(looking_up, USER_IDS[0], user_preferences={}, k=10, adult=False)
    assert count_scored(looking_up) == len(USER_IDS)


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 7},
        {"adult": True},
        {"filters": {"type": ["TV"]}},
        {"seasons": "all"},
        {"ratings": {"1": 9}},
        {"algorithm": "ease"},
        {"explain": True},
    ],
)
def test_any_other_request_is_computed(open_service: Callable[..., TestClient], fields: dict[str, Any]) -> None:
    computing, looking_up = open_service(), open_service(scored_lists=True)
    assert ask(looking_up, USER_IDS[0], **fields) == ask(computing, USER_IDS[0], **fields)
    assert count_scored(looking_up) == 0


def test_whatever_a_user_says_makes_the_list_invalid(
    open_service: Callable[..., TestClient], scored: Scoring, engine: Engine
) -> None:
    client = open_service(scored_lists=True)
    rated, dismissed, planned, deleted = USER_IDS[:4]
    first = {user_id: ask(client, user_id) for user_id in (rated, dismissed, planned)}
    assert count_scored(client) == 3
    best = {user_id: body["recommendations"][0]["item_id"] for user_id, body in first.items()}
    with engine.begin() as connection:
        write_feedback(connection, [FeedbackEvent("r", rated, best[rated], "rating", 9)])
        write_feedback(connection, [FeedbackEvent("d", dismissed, best[dismissed], "dismissal", None)])
        store_list(connection, planned, {}, {best[planned]: WatchStatus.Planned})
        delete_user(connection, deleted)
    for user_id, item_id in best.items():
        assert item_id not in [entry["item_id"] for entry in ask(client, user_id)["recommendations"]]
    assert ask(client, deleted)["kind"] == "new_user"
    assert count_scored(client) == 3
    with engine.connect() as connection:
        assert read_scored_list(connection, scored.settings.model_name, deleted) is None

    score_partition(scored, 0, USER_IDS)
    ask(client, rated)
    assert count_scored(client) == 4


def test_a_list_of_another_version_or_with_other_titles_is_not_used(
    open_service: Callable[..., TestClient], scored: Scoring, engine: Engine
) -> None:
    name, user_id = scored.settings.model_name, USER_IDS[0]
    with engine.connect() as connection:
        found = read_scored_list(connection, name, user_id)
        assert found is not None
    client = open_service(scored_lists=True)
    right = ask(client, user_id)
    for change in ({"version": scored.version + 1}, {"adult": True}, {"user_digest": "0" * 64}):
        with engine.begin() as connection:
            assert store_scored_lists(connection, name, [replace(found, item_ids=found.item_ids[::-1], **change)]) == 1
        assert ask(client, user_id) == right
    assert count_scored(client) == 1


def test_a_user_without_right_to_histories_is_shown_none(open_service: Callable[..., TestClient]) -> None:
    keys = {"api_keys": (SecretStr("reader:recommend"),), "auth": "keys"}
    computing, looking_up = open_service(**keys), open_service(scored_lists=True, **keys)
    for client in (computing, looking_up):
        client.headers["X-API-Key"] = "reader"
    body = ask(looking_up, USER_IDS[0])
    assert body == ask(computing, USER_IDS[0])
    assert body["watched"] == []


def test_scoring_again_writes_nothing_and_who_is_gone_gets_no_list(scored: Scoring, engine: Engine) -> None:
    name = scored.settings.model_name
    with engine.begin() as connection:
        found = [read_scored_list(connection, name, user_id) for user_id in USER_IDS[:3]]
        lists = [one for one in found if one is not None]
        assert len(lists) == 3
        assert store_scored_lists(connection, name, lists) == 0
        assert store_scored_lists(connection, name, []) == 0
        delete_user(connection, USER_IDS[0])
        assert store_scored_lists(connection, "another-recommender", lists) == 2
        stored = connection.execute(select(scored_lists.c.user_id).where(scored_lists.c.user_id == USER_IDS[0]))
        assert stored.all() == []
