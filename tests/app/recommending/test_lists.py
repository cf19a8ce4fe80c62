"""Algorithm, variety and reasons, for every kind of request."""

from typing import Any

import pytest

from recsys.recommender.retriever import RANKER
from tests.app.harness import TestClient
from tests.factories import list_tiny_algorithms

KINDS: list[dict[str, Any]] = [
    {},
    {"user_preferences": {"Drama": 1}},
    {"ratings": {"1": 9, "20": 8, "440": 3}},
    {"user_input": "Monster"},
]
BY_TITLE = {"liked_title", "disliked_title", "audience", "synopsis"}


def ask(client: TestClient, status: int = 200, **body: Any) -> Any:
    response = client.post("/recommend/", json=body)
    assert response.status_code == status, response.text
    return response.json()


@pytest.mark.parametrize("kind", KINDS, ids=["new", "tastes", "history", "title"])
@pytest.mark.parametrize("algorithm", [RANKER, *list_tiny_algorithms()])
@pytest.mark.parametrize("diversity", [0, 0.6])
def test_every_algorithm_answers_every_kind_of_request(
    shared_client: TestClient, kind: dict[str, Any], algorithm: str, diversity: float
) -> None:
    response = ask(shared_client, **kind, algorithm=algorithm, diversity=diversity, explain=True, k=12)

    shown = response["recommendations"]
    ids = [item["item_id"] for item in shown]
    assert len(set(ids)) == len(ids) == 12
    assert not set(ids) & {int(item_id) for item_id in kind.get("ratings", {})}
    assert 19 not in ids or kind.get("user_input") != "Monster"
    scores = [item["score"] for item in shown]
    # Popular titles of a wanted genre go before more popular ones of another.
    in_parts = algorithm == "popular" and not diversity and ("user_preferences" in kind or "user_input" in kind)
    assert in_parts or scores == sorted(scores, reverse=True)
    for item in shown:
        contributions = [reason["contribution"] for reason in item["reasons"]]
        assert contributions == sorted(contributions, reverse=True)
        assert len(contributions) <= 3
        assert contributions or algorithm != RANKER or kind.get("user_input")
        assert [reason["kind"] for reason in item["reasons"] if reason["contribution"] < 0] in ([], ["disliked_title"])
        assert all(
            reason["text"] and (reason["item_id"] is not None) == (reason["kind"] in BY_TITLE)
            for reason in item["reasons"]
        )


@pytest.mark.parametrize("algorithm", ["magic", "most-members", ""])
@pytest.mark.parametrize("kind", KINDS, ids=["new", "tastes", "history", "title"])
def test_an_algorithm_that_a_version_does_not_hold_is_refused_with_those_it_does(
    shared_client: TestClient, kind: dict[str, Any], algorithm: str
) -> None:
    problem = ask(shared_client, 422, **kind, algorithm=algorithm)

    assert problem["type"] == "urn:otaku:problem:unknown-algorithm"
    assert problem["suggestions"] == [RANKER, *list_tiny_algorithms()]


def test_reasons_are_given_only_where_they_are_asked_for(client: TestClient) -> None:
    user = KINDS[2]

    assert not any(item["reasons"] for item in ask(client, **user)["recommendations"])
    reasons = [reason for item in ask(client, **user, explain=True)["recommendations"] for reason in item["reasons"]]
    assert {"liked_title"} <= {reason["kind"] for reason in reasons}
    assert {reason["item_id"] for reason in reasons} <= {None, 1, 20, 440}
    against = [reason for reason in reasons if reason["item_id"] == 440]
    assert all(reason["kind"] == "disliked_title" and reason["contribution"] < 0 for reason in against)
    assert {reason["text"] for reason in against} <= {"You rated Shoujo Kakumei Utena 3."}


def test_without_a_title_rated_low_the_score_rises(client: TestClient) -> None:
    ratings = {"1": 9, "20": 8, "440": 3, "30": 7, "10001": 2}
    n_cited = 0
    for item in ask(client, ratings=ratings, explain=True, seasons="all", k=20)["recommendations"]:
        for reason in item["reasons"]:
            if reason["kind"] == "disliked_title":
                others = {key: rating for key, rating in ratings.items() if key != str(reason["item_id"])}
                again = {
                    other["item_id"]: other["score"]
                    for other in ask(client, ratings=others, seasons="all", k=47)["recommendations"]
                }
                assert again[item["item_id"]] == pytest.approx(item["score"] - reason["contribution"], abs=1e-4)
                n_cited += 1
    assert n_cited > 3


def test_without_the_cited_title_the_score_falls(client: TestClient) -> None:
    ratings = {"1": 9, "20": 8, "440": 3, "30": 7}
    n_cited = 0
    for item in ask(client, ratings=ratings, explain=True, seasons="all", k=20)["recommendations"]:
        for reason in item["reasons"]:
            if reason["kind"] == "liked_title":
                others = {key: rating for key, rating in ratings.items() if key != str(reason["item_id"])}
                again = {
                    other["item_id"]: other["score"]
                    for other in ask(client, ratings=others, seasons="all", adult=True, k=47)["recommendations"]
                }
                # By more than the contribution if the title is not even a candidate any more.
                assert again[item["item_id"]] <= item["score"] - reason["contribution"] + 1e-4
                assert again[item["item_id"]] < item["score"]
                n_cited += 1
    assert n_cited > 5
