from tests.app.harness import TestClient


def test_completion_names_titles_with_the_spelling_that_was_found(client: TestClient) -> None:
    answer = client.get("/search", params={"q": "cowboy", "limit": 2}).json()

    assert answer["query"] == "cowboy"
    assert [(hit["item_id"], hit["matched"], hit["match"]) for hit in answer["hits"]] == [
        (1, "Cowboy Bebop", "prefix"),
        (5, "Cowboy Bebop: The Movie", "prefix"),
    ]
    assert client.get("/search", params={"q": "qqqq"}).json()["hits"] == []


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
