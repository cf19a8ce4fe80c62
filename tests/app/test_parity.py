"""What is served is what the version gives offline, on LightGBM itself, for 200 users."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from recsys.columns import Columns
from recsys.data.titles.names import find_adult
from recsys.recommender import Recommendations, Recommender, UserProfile
from recsys.recommender.list_rules import ListOptions
from recsys.settings import Settings
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.tables import items, ratings, users
from recsys.types import Mask
from tests.app.harness import FolderSource, TestClient, open_client
from tests.factories import N_USERS, tiny_world

pytestmark = pytest.mark.local
CATALOG, INTERACTIONS = tiny_world()
N_UNKNOWN = 40  # users who are in no database and send their ratings along


@pytest.fixture
def client(database_url: str, offline_settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    engine = create_database_engine(database_url)
    known_users = pd.DataFrame(
        {Columns.User: INTERACTIONS.user_ids, "arrived_on": date(2026, 1, 5), "batch_id": "test"}
    )
    with engine.begin() as connection:
        upsert_rows(connection, items, CATALOG.items)
        upsert_rows(connection, users, known_users)
        upsert_rows(connection, ratings, INTERACTIONS.table)
    engine.dispose()
    settings = offline_settings.model_copy(update={"database_url": SecretStr(database_url)})
    with open_client(settings, source) as opened:
        yield opened


def profile_of(user_id: int, length: int | None = None) -> UserProfile:
    rows = INTERACTIONS.table[INTERACTIONS.table[Columns.User] == user_id][:length]
    return UserProfile(rows[Columns.Item].to_numpy(), rows[Columns.Rating].to_numpy(dtype=np.float32))


def is_same(response: dict[str, Any], expected: Recommendations) -> bool:
    shown = response["recommendations"]
    return (
        [item["item_id"] for item in shown] == expected.item_ids.tolist()
        and [item["score"] for item in shown] == expected.scores.tolist()
        and [item["predicted_rating"] for item in shown] == expected.predicted_ratings.tolist()
    )


# What the service does where a request says nothing else.
SERVED = ListOptions(seasons="next", without_disliked=True)


def innocent(model: Recommender) -> Mask:
    return ~find_adult(model.catalog.items)


def test_the_served_list_is_the_list_computed_offline(client: TestClient, model_folders: dict[int, Path]) -> None:
    offline = Recommender.load(model_folders[1])
    assert not offline.ranker.forests
    known: list[tuple[dict[str, Any], UserProfile]] = [
        ({"user_input": user_id}, profile_of(user_id)) for user_id in range(1, N_USERS + 1)
    ]
    unknown = [profile_of(user_id, user_id % 5) for user_id in range(1, N_UNKNOWN + 1)]
    known += [
        ({"ratings": {str(item): int(rating) for item, rating in zip(one.item_ids, one.ratings, strict=True)}}, one)
        for one in unknown
    ]
    assert len(known) == 200
    for payload, profile in known:
        response = client.post("/recommend/", json=payload | {"k": 20}).json()
        assert is_same(response, offline.recommend(profile, k=20, allowed=innocent(offline), options=SERVED)), payload


@pytest.mark.parametrize("payload", [{"algorithm": "content"}, {"diversity": 0.4}])
def test_so_it_is_with_other_choices(
    client: TestClient, model_folders: dict[int, Path], payload: dict[str, Any]
) -> None:
    offline = Recommender.load(model_folders[1])
    for user_id in range(1, 21):
        response = client.post("/recommend/", json=payload | {"user_input": user_id}).json()
        options = replace(SERVED, diversity=payload.get("diversity", 0.0))
        algorithm = payload.get("algorithm", "ranker")
        expected = offline.recommend(
            profile_of(user_id), allowed=innocent(offline), options=options, algorithm=algorithm
        )
        assert is_same(response, expected)
