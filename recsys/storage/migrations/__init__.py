"""Alembic migrations of schema `otaku`; `recsys.storage.database.migrate` runs them."""
