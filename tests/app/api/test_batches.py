"""`POST /recommend/batch` over HTTP: each response is that of the request alone."""

from typing import Any

import pytest

from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client

REQUESTS: list[dict[str, Any]] = [
    {"ratings": {"1": 9, "5": 3, "19": 8}, "k": 5},
    {"ratings": {"30": 10}, "filters": {"type": ["TV"]}, "diversity": 0.4},
    {},
    {"user_preferences": {"Action": 1}, "seasons": "all"},
    {"ratings": {"1": 4, "30": 3}, "k": 7},
    {"liked": ["Monster"], "list": [{"item_id": 5, "status": "dropped"}, {"item_id": 19, "status": "planned"}]},
    {"user_input": "Cowboy Bebop"},
    {"ratings": {"1": 9}, "algorithm": "ease"},
    {"ratings": {"1": 9, "5": 8}, "explain": True},
    {"list": [{"item_id": 19, "status": "planned"}], "ratings": {"1": 9}, "planned": "first"},
]


def ask(client: TestClient, *requests: dict[str, Any], **fields: Any) -> Any:
    return client.post("/recommend/batch", json={"requests": list(requests), **fields})


def without_id(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "request_id"}


def test_each_response_is_that_of_the_request_alone(client: TestClient) -> None:
    found = ask(client, *REQUESTS, watched=True)
    assert found.status_code == 200, found.text
    together = found.json()["responses"]
    alone = [client.post("/recommend/", json=request).json() for request in REQUESTS]
    assert [without_id(response) for response in together] == [without_id(response) for response in alone]
    assert {response["request_id"] for response in together} == {found.json()["request_id"]}
    assert (
        ask(client, *REQUESTS, watched=True).json()["responses"][0]["recommendations"]
        == (together[0]["recommendations"])
    )


def test_watched_titles_are_left_out_unless_asked_for(client: TestClient) -> None:
    together = ask(client, REQUESTS[0], REQUESTS[4]).json()["responses"]
    assert [response["watched"] for response in together] == [[], []]
    alone = client.post("/recommend/", json=REQUESTS[0]).json()
    assert together[0]["recommendations"] == alone["recommendations"]


def test_a_wrong_request_is_a_problem_among_responses(client: TestClient) -> None:
    wrong = [{"liked": ["qqqqzzzz"]}, {"filters": {"type": ["Opera"]}}, {"user_input": "qqqqzzzz"}]
    statuses = [response.get("status") for response in ask(client, REQUESTS[0], *wrong).json()["responses"]]
    assert statuses == [None, 404, 422, 404]
    for problem, request in zip(ask(client, *wrong).json()["responses"], wrong, strict=True):
        expected = client.post("/recommend/", json=request).json()
        shown = {name: value for name, value in problem.items() if value is not None}
        assert without_id(shown) == without_id(expected)


@pytest.mark.parametrize("requests", [[], [{}] * 101, [{"k": 0}], [{"surprise": 1}]])
def test_no_batch_is_refused(client: TestClient, requests: list[dict[str, Any]]) -> None:
    assert ask(client, *requests).status_code == 422


def test_every_request_counts_against_the_limit(offline_settings: Settings, source: FolderSource) -> None:
    settings = offline_settings.model_copy(update={"rate_limit": "5/minute"})
    with open_client(settings, source) as client:
        assert ask(client, {}, {}, {}).status_code == 200
        refused = ask(client, {}, {}, {})
        assert refused.status_code == 429
        assert "retry-after" in refused.headers
