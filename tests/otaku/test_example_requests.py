"""The demo requests recommendations for a user who has unrated titles left."""

import pandas as pd
import pytest

from otaku.demo.example_requests import LIST_LENGTH, build_example_requests
from recsys.connections import open_engine
from recsys.settings import Settings
from recsys.storage.database import upsert_rows
from recsys.storage.tables import ratings
from tests.app.live import fill_database
from tests.factories import tiny_world

pytestmark = pytest.mark.local


def test_a_user_who_has_rated_every_title_is_not_chosen(settings: Settings) -> None:
    catalog, interactions = tiny_world()
    fill_database(settings)
    before = build_example_requests(settings)[0].body["user_input"]
    counts = interactions.table.groupby("user_id").size()
    assert counts[before] == counts.max() <= len(catalog) - LIST_LENGTH
    eager = next(user for user in interactions.user_ids.tolist() if user != before)
    seen = interactions.table.loc[interactions.table["user_id"] == eager, "item_id"]
    unseen = [item for item in catalog.item_ids.tolist() if item not in set(seen)][: -LIST_LENGTH + 1]
    with open_engine(settings) as engine, engine.begin() as connection:
        upsert_rows(connection, ratings, pd.DataFrame({"user_id": eager, "item_id": unseen, "rating": 8}))
    assert build_example_requests(settings)[0].body["user_input"] == before
