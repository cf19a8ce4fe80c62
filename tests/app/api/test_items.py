from tests.app.harness import TestClient
from tests.factories import ADULT_ITEM


def test_completion_names_titles_with_the_spelling_that_was_found(client: TestClient) -> None:
    response = client.get("/search", params={"q": "cowboy", "limit": 2}).json()

    assert response["query"] == "cowboy"
    assert [(hit["item_id"], hit["matched"], hit["match"]) for hit in response["hits"]] == [
        (1, "Cowboy Bebop", "prefix"),
        (5, "Cowboy Bebop: The Movie", "prefix"),
    ]
    assert client.get("/search", params={"q": "qqqq"}).json()["hits"] == []


def test_a_title_for_adults_is_listed_on_request_alone(client: TestClient) -> None:
    query = {"q": "39th garden", "limit": 50}
    by_default, on_request = (client.get("/search", params=query | extra).json() for extra in ({}, {"adult": "true"}))

    assert ADULT_ITEM not in [hit["item_id"] for hit in by_default["hits"]]
    assert ADULT_ITEM in [hit["item_id"] for hit in on_request["hits"]]
    assert client.get("/search", params=query | {"adult": "perhaps"}).status_code == 422


def test_an_unknown_season_is_answered_with_the_series(client: TestClient) -> None:
    response = client.post("/recommend/", json={"user_input": "Cowboy Bebop Season 2"})

    assert response.status_code == 404
    assert response.json()["suggestions"] == ["Cowboy Bebop", "Cowboy Bebop: Tengoku no Tobira"]


def test_an_item_is_shown_whole_and_gaps_are_null(client: TestClient) -> None:
    item = client.get("/items/1").json()

    assert (item["title"], item["title_japanese"], item["year"]) == ("Cowboy Bebop", "カウボーイビバップ", 1998)
    assert (item["episodes"], item["members"], item["mean_score"]) == (12, 1_000_000, 7.0)
    assert item["title_english"] is None
    assert item["genres"] == ["Action", "Space"]


def test_similar_items_are_those_of_the_title(client: TestClient) -> None:
    by_id = client.get("/items/30/similar", params={"k": 5}).json()
    by_title = client.post("/recommend/", json={"user_input": "Neon Genesis Evangelion", "k": 5}).json()

    assert by_id["title"] == "Neon Genesis Evangelion"
    assert by_id["recommendations"] == by_title["recommendations"]
    assert by_id["model"] == by_title["model"]
