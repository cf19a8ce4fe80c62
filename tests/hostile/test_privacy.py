"""What a key may read of users, and what it learns of which users there are."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client

STORED, NOBODY = 7, 7_000_000


@pytest.mark.local
def test_a_key_for_lists_reads_no_history_and_tells_no_user_from_nobody(
    offline_settings: Settings, source: FolderSource, database_url: str, engine: Engine, tmp_path: Path
) -> None:
    keys = tuple(map(SecretStr, ("reader:recommend", "writer:recommend+write")))
    settings = offline_settings.model_copy(update={"database_url": SecretStr(database_url), "api_keys": keys})

    def ask(client: TestClient, user: int, key: str, **more: object) -> dict:
        response = client.post("/recommend/", json={"user_input": user, **more}, headers={"X-API-Key": key})
        assert response.status_code == 200
        return dict(response.json())

    with open_client(settings, source) as client:
        seen = ask(client, STORED, "writer")
        assert seen["watched"]
        assert seen["kind"] == "existing_user"
        for _ in range(2):  # the second time from the cache
            hidden, nobody = (ask(client, user, "reader") for user in (STORED, NOBODY))
            assert hidden["watched"] == nobody["watched"] == []
            assert hidden["kind"] == nobody["kind"]
        assert hidden["recommendations"] == seen["recommendations"]
        assert ask(client, NOBODY, "writer")["kind"] == "new_user"
        assert ask(client, STORED, "reader", ratings={"1": 9})["watched"] == []
        anonymous = client.post("/recommend/", json={"ratings": {"1": 9}}, headers={"X-API-Key": "reader"})
        assert [item["item_id"] for item in anonymous.json()["watched"]] == [1]
