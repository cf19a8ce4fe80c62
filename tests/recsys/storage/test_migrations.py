import ast
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from recsys.exceptions import ServiceUnavailableError
from recsys.storage import database
from recsys.storage.database import create_database_engine
from recsys.storage.migration import migrate
from recsys.storage.schema_state import FIRST_WITH_OLDEST_CODE, read_schema_state
from recsys.storage.tables import SCHEMA, metadata

MIGRATIONS = Path(database.__file__).parent / "migrations"


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


def test_ratings_from_before_get_the_source_that_can_be_found(empty_database_url: str) -> None:
    engine = create_database_engine(empty_database_url)
    migrate(engine)
    with engine.begin() as connection:
        go_to(connection, "0005", command.downgrade)
        for statement in BEFORE_SOURCES:
            connection.execute(text(statement))
        go_to(connection, "head", command.upgrade)
        found = connection.execute(text("SELECT user_id, item_id, source FROM otaku.ratings ORDER BY 1, 2")).all()
        when = connection.scalar(text("SELECT given_at FROM otaku.ratings WHERE source = 'feedback'"))
        statuses = connection.scalars(text("SELECT source FROM otaku.watch_statuses ORDER BY item_id")).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [(1, 1, "file"), (1, 2, "feedback"), (1, 3, "file"), (2, 1, "registration")]
    assert str(when) == "2026-01-06 00:00:00+00:00"
    assert statuses == ["feedback", "file"]


def go_to(connection: Connection, revision: str, move: Callable[[Config, str], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    move(config, revision)


# Of user 1, title 2 was rated by feedback, and title 3 by feedback that a file replaced.
BEFORE_SOURCES = (
    "INSERT INTO otaku.items (item_id, title) VALUES (1, 'A'), (2, 'B'), (3, 'C')",
    "INSERT INTO otaku.users VALUES (1, NULL, 'ingest'), (2, '2026-01-05', 'service')",
    "INSERT INTO otaku.ratings VALUES (1, 1, 5), (1, 2, 7), (1, 3, 4), (2, 1, 9)",
    "INSERT INTO otaku.watch_statuses VALUES (1, 1, 'completed'), (1, 2, 'planned')",
    """
    INSERT INTO otaku.feedback (feedback_id, idempotency_key, user_id, item_id, kind, rating, created_at)
    OVERRIDING SYSTEM VALUE VALUES
    (1, 'a', 1, 2, 'rating', 3, '2026-01-05Z'), (2, 'b', 1, 2, 'rating', 7, '2026-01-06Z'),
    (3, 'c', 1, 3, 'rating', 9, '2026-01-06Z'), (4, 'd', 1, 1, 'seen', NULL, '2026-01-06Z'),
    (5, 'e', 1, 1, 'rating', 5, '2026-01-07Z')
    """,
    "INSERT INTO otaku.feedback_folds VALUES (4, '2026-01-06', 4, 2)",
)


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


CONTRACTING_CALLS = {"drop_table", "drop_column", "rename_table"}
CONTRACTING_SQL = re.compile(r"\b(DROP (TABLE|COLUMN)|RENAME)\b", re.IGNORECASE)
CONTRACTING_CHANGES = {"nullable", "type_", "new_column_name"}


def contracts(source: str) -> bool:
    """Whether `upgrade` removes or changes what older code may need."""
    (upgrade,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    ]
    for call in (node for node in ast.walk(upgrade) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        changed = {keyword.arg for keyword in call.keywords}
        if name in CONTRACTING_CALLS or (name == "alter_column" and changed & CONTRACTING_CHANGES):
            return True
        if name == "execute" and CONTRACTING_SQL.search(ast.unparse(call)):
            return True
    return False


def find_broken_rules(sources: dict[str, str]) -> list[str]:
    """Name the migrations that break the rule of expansion and contraction; `sources` by number, oldest first."""
    broken, before = [], "0010"
    for number, source in sources.items():
        named = re.search(r'^oldest_code: str = "(\d{4})"$', source, re.MULTILINE)
        oldest = named[1] if named else ""
        if not before <= oldest <= number or (contracts(source) and oldest == before):
            broken.append(number)
        before = max(before, oldest)
    return broken


def test_migrations_expand_or_say_which_code_they_leave_behind() -> None:
    paths = sorted(path for path in MIGRATIONS.glob("versions/[0-9]*.py") if path.name[:4] >= FIRST_WITH_OLDEST_CODE)
    assert paths
    assert find_broken_rules({path.name[:4]: path.read_text() for path in paths}) == []


@pytest.mark.parametrize(
    ("change", "oldest", "is_broken"),
    [
        ('op.add_column("users", column)', "0011", False),
        ('op.drop_column("users", "batch_id")', "0011", True),
        ('op.drop_column("users", "batch_id")', "0012", False),
        ('op.execute("ALTER TABLE otaku.users RENAME COLUMN a TO b")', "0011", True),
        ('op.alter_column("users", "a", nullable=False)', "0011", True),
        ('op.add_column("users", column)', "0013", True),
        ('op.add_column("users", column)', "0009", True),
    ],
)
def test_the_rule_of_expansion_and_contraction(change: str, oldest: str, is_broken: bool) -> None:
    first = 'oldest_code: str = "0011"\ndef upgrade():\n    pass\n'
    second = f'oldest_code: str = "{oldest}"\ndef upgrade():\n    {change}\n'
    assert find_broken_rules({"0011": first, "0012": second}) == (["0012"] if is_broken else [])


def test_what_was_migrated_is_told(empty_database_url: str) -> None:
    engine = create_database_engine(empty_database_url)
    assert read_schema_state(engine).applied is None
    assert migrate(engine, "0010")[-1] == "0010 keep the latest opinions"
    state = read_schema_state(engine)
    assert (state.applied, state.is_usable) == ("0010", False)
    assert migrate(engine) == state.list_pending()
    assert read_schema_state(engine).is_usable
    assert migrate(engine) == []
    engine.dispose()
