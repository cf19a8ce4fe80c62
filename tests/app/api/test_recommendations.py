from typing import Any

import pytest

from tests.app.harness import TestClient
from tests.factories import ADULT_ITEM, tiny_catalog

CATALOG = tiny_catalog()
GENRES = dict(zip(CATALOG.item_ids.tolist(), CATALOG.items["genres"], strict=True))


def ask(client: TestClient, expected: int = 200, **body: Any) -> dict[str, Any]:
    response = client.post("/recommend/", json=body)
    assert response.status_code == expected, response.text
    found: dict[str, Any] = response.json()
    return found


def recommended(response: dict[str, Any]) -> list[int]:
    return [item["item_id"] for item in response["recommendations"]]


def test_an_anonymous_user_gets_ten_ranked_titles(client: TestClient) -> None:
    response = ask(client, user_preferences={})

    assert response["kind"] == "new_user"
    assert [item["rank"] for item in response["recommendations"]] == list(range(1, 11))
    assert len(set(recommended(response))) == 10
    assert response["watched"] == []
    assert response["model"] == {"name": "anime-recommender", "version": 1, "run_id": "run-1"}
    scores = [item["score"] for item in response["recommendations"]]
    assert scores == sorted(scores, reverse=True)


def test_the_path_without_a_slash_answers_as_well(client: TestClient) -> None:
    response = client.post("/recommend", json={}, follow_redirects=False)

    assert response.status_code == 200


@pytest.mark.parametrize("weights", [{"Shounen": 1, "mystery": 0.5}, {"Shounen": [1], "Mystery": [0.5]}])
def test_every_stated_genre_counts(client: TestClient, weights: dict[str, Any]) -> None:
    wanted = {item_id for item_id, genres in GENRES.items() if {"Shounen", "Mystery"} & set(genres)} - {ADULT_ITEM}

    for algorithm in ("ranker", "popular"):
        response = ask(client, user_preferences=weights, k=len(wanted), algorithm=algorithm)

        assert response["kind"] == "new_user_with_preferences"
        assert set(recommended(response)) == wanted  # Shounen and Mystery are always the second genre


def test_a_weight_of_zero_states_nothing(client: TestClient) -> None:
    assert ask(client, user_preferences={"Action": 0})["kind"] == "new_user"


def test_an_unknown_genre_is_named_with_suggestions(client: TestClient) -> None:
    problem = ask(client, 422, user_preferences={"Romanse": 1})

    assert problem["type"] == "urn:otaku:problem:unknown-genre"
    assert "Romanse" in problem["detail"]
    assert problem["suggestions"][0] == "Romance"


def test_a_whole_rating_may_be_written_as_a_float(client: TestClient) -> None:
    expected = ask(client, ratings={"1": 8, "20": 3}, k=5)
    response = ask(client, ratings={"1": 8.0, "20": 3.0}, k=5)
    assert (response["watched"], response["recommendations"]) == (expected["watched"], expected["recommendations"])


@pytest.mark.parametrize("rating", [7.5, -1, -0.5, 10.5, 11.0, "8", True, "8.0", 1e300])
def test_what_is_no_whole_rating_is_refused(shared_client: TestClient, rating: Any) -> None:
    assert ask(shared_client, 422, ratings={"1": rating})["errors"][0]["field"].startswith("body.ratings.1")


def test_rating_0_means_watched_and_no_taste(client: TestClient) -> None:
    popular = [item["item_id"] for item in ask(client, k=12)["recommendations"]]
    response = ask(client, ratings={str(popular[0]): 0, "999999": 0.0}, k=12)
    assert (response["kind"], response["watched"], response["ignored_item_ids"]) == ("new_user", [], [999999])
    assert [item["item_id"] for item in response["recommendations"]][:11] == popular[1:]

    history = {"1": 9, "20": 8}
    expected = ask(client, ratings=history, k=12)
    shown = [item["item_id"] for item in expected["recommendations"]]
    response = ask(client, ratings={**history, str(shown[3]): 0}, k=12)
    assert response["watched"] == expected["watched"]
    scores = {item["item_id"]: item["predicted_rating"] for item in expected["recommendations"]}
    again = {item["item_id"]: item["predicted_rating"] for item in response["recommendations"]}
    assert shown[3] not in again
    assert {item_id: again[item_id] for item_id in again.keys() & scores} == {
        item_id: scores[item_id] for item_id in again.keys() & scores
    }


def test_rating_0_counts_more_than_a_like(client: TestClient) -> None:
    response = ask(client, ratings={"1": 0}, liked=[1, "Monster"])
    assert [item["item_id"] for item in response["watched"]] == [19]


def test_ratings_and_likes_make_a_history_that_is_shown_and_never_recommended(client: TestClient) -> None:
    response = ask(client, ratings={"1": 10, "5114": 4, "999999": 3}, liked=["Monstre", 20, 888888], k=100)

    assert response["kind"] == "new_user_with_history"
    shown = {item["item_id"]: item["rating"] for item in response["watched"]}
    assert shown == {1: 10, 5114: 4, 19: 9, 20: 9}
    assert [item["rating"] for item in response["watched"]] == [10, 9, 9, 4]
    assert all(1 <= item["predicted_rating"] <= 10 for item in response["watched"])
    assert response["ignored_item_ids"] == [888888, 999999]
    assert len(recommended(response)) == len(CATALOG) - 5  # one is for adults only
    assert not set(recommended(response)) & set(shown)


def test_a_rating_counts_more_than_a_like_of_the_same_title(client: TestClient) -> None:
    response = ask(client, ratings={"1": 3}, liked=[1, "Cowboy Bebop"])

    assert [(item["item_id"], item["rating"]) for item in response["watched"]] == [(1, 3)]


def test_a_taste_for_fights_and_one_for_love_lead_to_different_lists(client: TestClient) -> None:
    fights = [item_id for item_id, genres in GENRES.items() if "Action" in genres]
    love = [item_id for item_id, genres in GENRES.items() if "Romance" in genres]

    def share_of_fights(liked: list[int]) -> float:
        found = recommended(ask(client, liked=liked[:8]))
        return sum("Action" in GENRES[item_id] for item_id in found) / len(found)

    assert share_of_fights(fights) > share_of_fights(love)


@pytest.mark.parametrize(
    ("title", "item_id", "match"),
    [
        ("Neon Genesis Evangelion", 30, "exact"),
        ("カウボーイビバップ", 1, "alias"),
        ("Neon Genesys Evangelion", 30, "typo"),
    ],
)
def test_a_title_is_answered_with_similar_titles(client: TestClient, title: str, item_id: int, match: str) -> None:
    response = ask(client, user_input=title, user_preferences={})

    assert response["kind"] == "similar_items"
    assert (response["resolved"]["item_id"], response["resolved"]["match"]) == (item_id, match)
    assert item_id not in recommended(response)
    assert len(recommended(response)) == 10


def test_an_unknown_title_is_not_found_but_suggestions_are(client: TestClient) -> None:
    problem = ask(client, 404, user_input="Nion Genozas Evangellium")

    assert problem["type"] == "urn:otaku:problem:unknown-title"
    assert problem["suggestions"] == ["Neon Genesis Evangelion"]
    assert ask(client, 404, liked=["Nion Genozas Evangellium"])["suggestions"] == ["Neon Genesis Evangelion"]


def test_a_part_of_a_title_is_resolved_and_it_is_told_how_surely(client: TestClient) -> None:
    resolved = ask(client, user_input="Utena")["resolved"]

    assert (resolved["item_id"], resolved["match"], resolved["alternatives"]) == (440, "substring", [])
    assert 0.5 < resolved["confidence"] < 0.9


def test_a_title_with_tastes_is_a_contradiction(client: TestClient) -> None:
    problem = ask(client, 422, user_input="Monster", ratings={"1": 9}, liked=[5])

    assert "ratings and liked" in problem["detail"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": ["movie"], "genres_any": ["Space"]}, {5}),
        ({"genres_any": ["Mystery", "Space"], "year_max": 1998}, {1}),
        ({"age_rating": ["R+"]}, {19}),
        ({"age_rating": ["PG-13 - Teens 13 or older"], "genres_none": ["Comedy", "Drama"]}, {20}),
        ({"year_min": 2009, "year_max": 2009, "type": ["TV"], "genres_any": ["Shounen"], "age_rating": ["R"]}, {5114}),
        ({"year_min": 2050}, set()),
    ],
)
@pytest.mark.parametrize("payload", [{}, {"user_input": "Naruto"}, {"algorithm": "popular"}])
def test_filters_leave_only_what_passes_all_of_them(
    shared_client: TestClient, filters: dict[str, Any], expected: set[int], payload: dict[str, Any]
) -> None:
    if payload.get("user_input"):
        expected = expected - {20}

    assert set(recommended(ask(shared_client, filters=filters, k=100, seasons="all", **payload))) == expected


def test_an_unknown_filter_value_is_named(client: TestClient) -> None:
    assert ask(client, 422, filters={"type": ["TVV"]})["suggestions"][0] == "TV"
    assert "age rating" in ask(client, 422, filters={"age_rating": ["\x00"]})["detail"]


def test_popular_titles_come_by_members_without_the_watched_ones(client: TestClient) -> None:
    response = ask(client, algorithm="popular", k=3, ratings={"5": 6})

    assert recommended(response) == [1, 6, 19]
    assert recommended(ask(client, algorithm="popular", k=2, user_preferences={"Mystery": 1})) == [19, 1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"k": 0}, "body.k"),
        ({"k": 101}, "body.k"),
        ({"k": "10"}, "body.k"),
        ({"algorithm": 3}, "body.algorithm"),
        ({"algorithm": "x" * 101}, "body.algorithm"),
        ({"diversity": 1.5}, "body.diversity"),
        ({"diversity": "much"}, "body.diversity"),
        ({"explain": 1}, "body.explain"),
        ({"user_preferences": {"Action": [1, 2]}}, "body.user_preferences.Action.constrained-float"),
        ({"user_preferences": {"Action": -1}}, "body.user_preferences.Action.constrained-float"),
        ({"ratings": {"1": 11}}, "body.ratings.1"),
        ({"ratings": {"one": 9}}, "body.ratings.one.[key]"),
        ({"ratings": {str(item_id): 5 for item_id in range(10_001)}}, "body.ratings"),
        ({"liked": [True]}, "body.liked.0.constrained-int"),
        ({"user_input": 2**63}, "body.user_input.constrained-int"),
        ({"user_input": ""}, "body.user_input.constrained-str"),
        ({"user_input": "x" * 201}, "body.user_input.constrained-str"),
        ({"filters": {"year_min": 0}}, "body.filters.year_min"),
        ({"user": 1}, "body.user"),
    ],
)
def test_a_wrong_field_is_refused_by_name(shared_client: TestClient, body: dict[str, Any], field: str) -> None:
    problem = ask(shared_client, 422, **body)

    assert problem["type"] == "urn:otaku:problem:invalid-request"
    assert any(error["field"].startswith(field.split(".constrained")[0]) for error in problem["errors"]), problem


def test_neutral_values_and_nulls_of_old_clients_are_accepted(client: TestClient) -> None:
    body = {"user_input": None, "user_preferences": None, "ratings": None, "liked": None, "filters": None}

    assert ask(client, **body, diversity=0.0, explain=False)["kind"] == "new_user"
