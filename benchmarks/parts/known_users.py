"""Users with ratings in a PostgreSQL of the benchmark's own."""

import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.recommender import Recommender, UserProfile
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.migration import migrate
from recsys.storage.tables import items as items_table
from recsys.storage.tables import ratings as ratings_table
from recsys.storage.tables import users as users_table


def fill_database(url: str, recommender: Recommender, known_users: dict[int, UserProfile]) -> None:
    """Create the tables and add the titles, and users with their ratings."""
    engine = create_database_engine(url)
    migrate(engine)
    items = recommender.catalog.items[[Columns.Item, ItemColumns.Title]]
    rows = [
        pd.DataFrame({Columns.User: user_id, Columns.Item: user.item_ids, Columns.Rating: user.ratings.astype(int)})
        for user_id, user in known_users.items()
    ]
    with engine.begin() as connection:
        upsert_rows(connection, items_table, items)
        upsert_rows(connection, users_table, pd.DataFrame({Columns.User: list(known_users), "batch_id": "benchmark"}))
        upsert_rows(connection, ratings_table, pd.concat(rows, ignore_index=True))
    engine.dispose()
