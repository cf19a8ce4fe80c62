import socket
from collections.abc import Iterator
from datetime import date

import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, text

from recsys.columns import Columns
from recsys.settings import Settings
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.tables import items, ratings, user_preferences, users
from tests.app.harness import BASE_URL, FolderSource, TestClient, open_client
from tests.factories import ADULT_ITEM, tiny_world

pytestmark = pytest.mark.local
CATALOG, INTERACTIONS = tiny_world()
NEW_ITEM = 777_777  # ingested after the model was trained


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with all users of the tiny world, and user 500 without any rating."""
    engine = create_database_engine(database_url)
    new = CATALOG.items.iloc[:1].assign(**{Columns.Item: NEW_ITEM})
    known_users = pd.DataFrame({Columns.User: [*INTERACTIONS.user_ids.tolist(), 500]})
    with engine.begin() as connection:
        upsert_rows(connection, items, pd.concat([CATALOG.items, new]))
        upsert_rows(connection, users, known_users.assign(arrived_on=date(2026, 1, 5), batch_id="test"))
        upsert_rows(connection, ratings, INTERACTIONS.table)
    yield engine
    engine.dispose()


@pytest.fixture
def client(database_url: str, engine: Engine, offline_settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    settings = offline_settings.model_copy(update={"database_url": SecretStr(database_url)})
    with open_client(settings, source) as opened:
        yield opened


def test_a_user_is_served_by_key_from_the_ratings_in_the_database(client: TestClient) -> None:
    history = INTERACTIONS.table.query("user_id == 7").set_index(Columns.Item)[Columns.Rating]

    response = client.post("/recommend/", json={"user_input": 7, "user_preferences": {}, "k": 100}).json()

    assert response["kind"] == "existing_user"
    assert {item["item_id"]: item["rating"] for item in response["watched"]} == history.to_dict()
    shown = [(item["rating"], item["predicted_rating"]) for item in response["watched"]]
    assert shown == sorted(shown, reverse=True)
    recommended = [item["item_id"] for item in response["recommendations"]]
    assert set(recommended) == set(CATALOG.item_ids.tolist()) - set(history.index) - {ADULT_ITEM}
    assert len(recommended) == len(set(recommended))


def test_a_new_arrival_is_served_at_once_even_with_a_title_that_the_model_does_not_know(
    client: TestClient, engine: Engine
) -> None:
    payload = {"user_input": 600}
    assert client.post("/recommend/", json=payload).json()["kind"] == "new_user"
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO otaku.users VALUES (600, '2026-02-01', 'test')"))
        connection.execute(text(f"INSERT INTO otaku.ratings VALUES (600, 1, 9), (600, {NEW_ITEM}, 10)"))  # noqa: S608

    response = client.post("/recommend/", json=payload).json()

    assert response["kind"] == "existing_user"
    assert [item["item_id"] for item in response["watched"]] == [1]
    assert response["ignored_item_ids"] == []


def test_a_user_without_ratings_is_known_all_the_same(client: TestClient) -> None:
    response = client.post("/recommend/", json={"user_input": 500}).json()

    assert (response["kind"], response["watched"]) == ("existing_user", [])
    assert len(response["recommendations"]) == 10


def test_stored_preferences_stand_in_for_titles_that_the_model_does_not_know(
    client: TestClient, engine: Engine
) -> None:
    shares = {"Romance": 1.0, "Isekai": 0.5}  # the catalog of the model has no Isekai
    rows = pd.DataFrame([{"user_id": 500, "n_ratings": 1, "mean_rating": 10.0, "genre_shares": shares}])
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO otaku.ratings VALUES (500, {NEW_ITEM}, 10)"))  # noqa: S608
        connection.execute(insert(user_preferences), rows.to_dict("records"))

    response = client.post("/recommend/", json={"user_input": 500, "k": 5}).json()

    assert response["kind"] == "existing_user"
    assert all("Romance" in item["genres"] for item in response["recommendations"])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"user_preferences": {}}, "new_user"),
        ({"user_preferences": {"Action": [1]}}, "new_user_with_preferences"),
        ({"ratings": {"1": 8}, "user_preferences": {"Action": 1}}, "new_user_with_history"),
        ({"liked": ["Monster"]}, "new_user_with_history"),
    ],
)
def test_an_unknown_number_is_a_new_user(client: TestClient, body: dict[str, object], kind: str) -> None:
    assert client.post("/recommend/", json={"user_input": 1234567890, **body}).json()["kind"] == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"user_input": 7, "user_preferences": {}}', "existing_user"),
        (b'{"user_input": 1565, "user_preferences": {}}', "new_user"),
        (b'{"user_input": 1234567890, "user_preferences": {"Action": [1]}}', "new_user_with_preferences"),
        (b'{"user_input": "Neon Genesis Evangelion", "user_preferences": {}}', "similar_items"),
    ],
)
def test_the_bodies_of_older_clients_work_to_the_letter(client: TestClient, body: bytes, kind: str) -> None:
    for path in ("/recommend/", "/recommend"):
        response = client.post(path, content=body, headers={"Content-Type": "application/json"})

        assert response.status_code == 200
        assert response.json()["kind"] == kind
        assert len(response.json()["recommendations"]) == 10


def test_what_is_sent_along_counts_more_than_what_is_stored(client: TestClient) -> None:
    history = INTERACTIONS.table.query("user_id == 7")
    watched = int(history[Columns.Item].iloc[0])

    response = client.post("/recommend/", json={"user_input": 7, "ratings": {str(watched): 10}}).json()

    assert response["kind"] == "existing_user"
    assert len(response["watched"]) == len(history)
    assert {item["item_id"]: item["rating"] for item in response["watched"]}[watched] == 10


# Not after the 20 s in which connection and statement would be given up.
GIVEN_UP = "PostgreSQL does not answer within 0.9 s"


def check_outage(client: TestClient, detail: str = "does not answer") -> None:
    database = client.app.state.service.database  # type: ignore[attr-defined]
    patience, database._read_seconds = database._read_seconds, 0.9
    response = client.post("/recommend/", json={"user_input": 7})
    database._read_seconds = patience
    assert response.status_code == 503
    assert response.json()["type"] == "urn:otaku:problem:unavailable"
    assert detail in response.json()["detail"]
    assert "127.0.0.1" not in response.text
    assert int(response.headers["retry-after"]) > 0
    for body in ({}, {"ratings": {"1": 9}}, {"user_input": "Monster"}):
        assert client.post("/recommend/", json=body).status_code == 200


def test_without_a_database_only_requests_for_users_fail_and_fast(
    offline_settings: Settings, source: FolderSource
) -> None:
    with open_client(offline_settings, source) as client:
        check_outage(client)
        assert client.get("/health/ready").status_code == 200


def test_a_database_that_hangs_is_given_up_within_a_second(
    offline_settings: Settings, source: FolderSource, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never says a word
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        settings = offline_settings.model_copy(update={"database_url": SecretStr(url)})
        with open_client(settings, source) as client:
            check_outage(client)
            check_outage(client)
    assert GIVEN_UP in caplog.text


def test_a_locked_table_is_given_up_within_a_second_and_heals(
    client: TestClient, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.post("/recommend/", json={"user_input": 7}).status_code == 200
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE otaku.ratings IN ACCESS EXCLUSIVE MODE"))
        check_outage(client)
    assert GIVEN_UP in caplog.text
    assert client.post("/recommend/", json={"user_input": 7}).status_code == 200


def test_cut_connections_are_replaced(client: TestClient, engine: Engine) -> None:
    assert client.post("/recommend/", json={"user_input": 7}).status_code == 200
    with engine.begin() as connection:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))  # noqa: S608

    assert client.post("/recommend/", json={"user_input": 7}).status_code == 200


def test_an_application_may_be_started_again(client: TestClient) -> None:
    app = client.app
    client.__exit__()
    with TestClient(app, BASE_URL) as again:
        assert again.post("/recommend/", json={"user_input": 7}).json()["kind"] == "existing_user"
    client.__enter__()
