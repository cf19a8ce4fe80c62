"""Titles for adults only: nowhere unless they are asked for, found by walking a whole catalog."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.recommender import Recommender
from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client
from tests.factories import ADULT_ITEM, tiny_recommender

BY_GENRE, BY_GENRE_IN_CAPITALS, BY_RATING_IN_LOWER_CASE = 10_001, 10_004, 10_007
ADULT = {ADULT_ITEM, BY_GENRE, BY_GENRE_IN_CAPITALS, BY_RATING_IN_LOWER_CASE}


def add_adult_titles(recommender: Recommender) -> Recommender:
    """Return the recommender over a catalog in which some popular titles are for adults only, in any spelling."""
    items = recommender.catalog.items.copy()
    items = items.set_index("item_id", drop=False)
    items.at[BY_GENRE, ItemColumns.Genres] = ["Action", "Hentai"]
    items.at[BY_GENRE_IN_CAPITALS, ItemColumns.Genres] = ["HENTAI", "Romance"]
    items.at[BY_RATING_IN_LOWER_CASE, ItemColumns.AgeRating] = "rx - hentai"
    items.loc[list(ADULT), ItemColumns.Members] = 5_000_000.0
    catalog = Catalog(items.reset_index(drop=True))
    side = replace(recommender.retriever.items, catalog=catalog)
    return replace(recommender, retriever=replace(recommender.retriever, items=side))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adult")
    add_adult_titles(tiny_recommender()).save(folder)
    return folder


@pytest.fixture
def client(offline_settings: Settings, folder: Path) -> Iterator[TestClient]:
    with open_client(offline_settings, FolderSource({1: folder})) as opened:
        yield opened


def list_ids(client: TestClient, **body: object) -> list[int]:
    response = client.post("/recommend/", json={"k": 48, **body})
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["recommendations"]]


BODIES: list[dict[str, object]] = [
    {},
    {"user_preferences": {"Hentai": 1}},
    {"user_preferences": {"Action": 1}},
    {"ratings": {str(item_id): 10 for item_id in ADULT - {BY_GENRE}}},
    {"ratings": {"1": 9, "20": 8}},
    {"filters": {"genres_any": ["Hentai"]}},
    {"filters": {"age_rating": ["Rx - Hentai"]}},
    {"list": [{"item_id": BY_GENRE, "status": "planned"}], "planned": "first"},
    *({"ratings": {"1": 9}, "algorithm": name} for name in ("ease", "popular", "content", "synopsis")),
    {"ratings": {"1": 9}, "diversity": 0.5, "explain": True},
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_no_list_holds_them_and_a_request_that_asks_for_them_does(client: TestClient, body: dict[str, object]) -> None:
    assert not ADULT & set(list_ids(client, **body))
    assert not ADULT & set(list_ids(client, **body, adult=False))
    assert ADULT & set(list_ids(client, **body, adult=True))


def test_a_walk_through_the_catalog_meets_none(client: TestClient) -> None:
    names = {
        item_id: client.get(f"/items/{item_id}").json()["title"] for item_id in tiny_recommender().catalog.item_ids
    }
    for item_id, name in names.items():
        similar = client.get(f"/items/{item_id}/similar", params={"k": 48}).json()["recommendations"]
        assert not ADULT & {item["item_id"] for item in similar}
        hits = [hit["item_id"] for hit in client.get("/search", params={"q": name, "limit": 48}).json()["hits"]]
        completed = [hit["id"] for hit in client.get("/complete", params={"q": name}).json()["hits"]]
        assert not ADULT & {*hits, *completed}
        named = client.post("/recommend/", json={"user_input": name, "k": 48})
        page = client.get(f"/titles/{item_id}")
        assert (named.status_code, page.status_code) == ((404, 404) if item_id in ADULT else (200, 200))
        assert not {names[adult] for adult in ADULT} & set(named.json().get("suggestions", []))
        assert not [adult for adult in ADULT if f"/titles/{adult}" in page.text]
    assert client.post("/recommend/", json={"liked": [names[BY_GENRE]]}).status_code == 404


def test_whoever_asks_for_them_finds_them(client: TestClient) -> None:
    name = client.get(f"/items/{BY_GENRE}").json()["title"]

    named = client.post("/recommend/", json={"user_input": name, "adult": True, "k": 40}).json()
    assert named["resolved"]["item_id"] == BY_GENRE
    similar = client.get("/items/1/similar", params={"k": 48, "adult": "true"}).json()["recommendations"]
    assert {item["item_id"] for item in similar} >= ADULT
    assert client.get("/complete", params={"q": name, "adult": "1"}).json()["hits"][0]["id"] == BY_GENRE
    assert client.get(f"/titles/{BY_GENRE}?adult=1").status_code == 200
    page = client.get("/?f=1&k=50&adult=1").text
    assert f"/titles/{BY_GENRE}?f=1&amp;k=50&amp;adult=1" in page
    assert "with titles for adults" in page
    assert f"/titles/{BY_GENRE}" not in client.get("/?f=1&k=50").text


def test_the_setting_shows_them_to_all_who_do_not_refuse(offline_settings: Settings, folder: Path) -> None:
    settings = offline_settings.model_copy(update={"adult": True})
    with open_client(settings, FolderSource({1: folder})) as client:
        assert set(list_ids(client)) >= ADULT
        assert not ADULT & set(list_ids(client, adult=False))
        assert client.get("/search", params={"q": "garden", "limit": 48}).json()["hits"][0]["item_id"] in ADULT
        assert client.get(f"/titles/{BY_GENRE}").status_code == 200
        assert f"/titles/{BY_GENRE}" in client.get("/?f=1&k=50").text
