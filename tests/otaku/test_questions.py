"""The questions that the demo asks are about users for whom there is something to answer."""

import pandas as pd
import pytest

from otaku.demo.questions import LIST_LENGTH, build_questions
from recsys.connections import open_engine
from recsys.settings import Settings
from recsys.storage.database import upsert_rows
from recsys.storage.tables import ratings
from tests.app.live import fill_database
from tests.factories import tiny_world

pytestmark = pytest.mark.local


def test_a_user_who_has_watched_everything_is_not_asked_for(settings: Settings) -> None:
    catalog, interactions = tiny_world()
    fill_database(settings)
    before = build_questions(settings)[0].body["user_input"]
    counts = interactions.table.groupby("user_id").size()
    assert counts[before] == counts.max() <= len(catalog) - LIST_LENGTH
    eager = next(user for user in interactions.user_ids.tolist() if user != before)
    seen = interactions.table.loc[interactions.table["user_id"] == eager, "item_id"]
    unseen = [item for item in catalog.item_ids.tolist() if item not in set(seen)][: -LIST_LENGTH + 1]
    with open_engine(settings) as engine, engine.begin() as connection:
        upsert_rows(connection, ratings, pd.DataFrame({"user_id": eager, "item_id": unseen, "rating": 8}))
    assert build_questions(settings)[0].body["user_input"] == before
