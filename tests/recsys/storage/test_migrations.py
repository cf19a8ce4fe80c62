from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from recsys.exceptions import ServiceUnavailableError
from recsys.storage.database import create_database_engine, migrate
from recsys.storage.tables import SCHEMA, metadata


def test_migrations_from_empty_create_exactly_the_tables(empty_database_url: str) -> None:
    engine = create_database_engine(empty_database_url)
    migrate(engine)
    migrate(engine)
    options = {
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
        "compare_server_default": True,
    }
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    tables = set(inspect(engine).get_table_names(schema=SCHEMA))
    engine.dispose()
    assert tables == {table.name for table in metadata.tables.values()} | {"alembic_version"}


def test_two_migrations_at_once_wait_for_each_other(empty_database_url: str) -> None:
    engines = [create_database_engine(empty_database_url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate, engines))
    assert inspect(engines[0]).has_table("ratings", schema=SCHEMA)
    for engine in engines:
        engine.dispose()


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(ServiceUnavailableError, match="PostgreSQL does not answer"):
        migrate(create_database_engine("postgresql://nobody@127.0.0.1:1/nothing"))
