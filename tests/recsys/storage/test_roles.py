"""What each role of the database may do, tried with logins of a real PostgreSQL."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import errors
from pydantic import SecretStr
from sqlalchemy import Engine, func, insert, select, text

from app.server import _check_schema
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings
from recsys.storage import migration
from recsys.storage.database import create_database_engine
from recsys.storage.feedback_folds import fold_feedback
from recsys.storage.migration import grant_roles, migrate, read_roles_sql
from recsys.storage.schema_state import list_migrations, read_schema_state, require_schema
from recsys.storage.tables import feedback, future_users, items, metadata
from recsys.storage.users import delete_user, register_user
from simulate_new_users.job import add_new_users
from tests.conftest import build_settings

pytestmark = pytest.mark.local
Connect = Callable[[str], Engine]
PASSWORD = "of-the-tests"
ROLES = ("otaku_service", "otaku_operations", "otaku_jobs", "otaku_backup")


@pytest.fixture
def owner(database_url: str) -> Iterator[Engine]:
    """The owner of the tables, with all roles and a login for each."""
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(read_roles_sql())
        for role in ROLES:
            connection.exec_driver_sql(
                f"DO $$ BEGIN IF to_regrole('{role}_login') IS NULL THEN "
                f"CREATE ROLE {role}_login LOGIN PASSWORD '{PASSWORD}' IN ROLE {role}; END IF; END $$"
            )
        connection.exec_driver_sql("GRANT otaku_service TO otaku_operations_login")
        titles = [{"item_id": item, "title": f"Title {item}", "genres": ["Drama"]} for item in range(1, 5)]
        connection.execute(insert(items), titles)
        waiting = [
            {"user_id": 1000 + place, "position": place, "item_ids": [1, 2 + place % 3], "ratings": [7, 9]}
            for place in range(60)
        ]
        connection.execute(insert(future_users), waiting)
    yield engine
    engine.dispose()


@pytest.fixture
def connect(owner: Engine, database_url: str) -> Iterator[Connect]:
    opened: list[Engine] = []

    def connect_as(role: str) -> Engine:
        opened.append(create_database_engine(url_of(database_url, role)))
        return opened[-1]

    yield connect_as
    for engine in opened:
        engine.dispose()


def url_of(database_url: str, role: str) -> str:
    parts = urlsplit(database_url)
    return f"postgresql://{role}_login:{PASSWORD}@{parts.hostname}:{parts.port}{parts.path}"


def refuses(engine: Engine, statement: str) -> bool:
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
    except Exception as error:
        cause: Any = error.__cause__ or error
        if isinstance(cause, errors.InsufficientPrivilege):
            return True
        raise
    return False


DDL = (
    "CREATE TABLE otaku.more (id int)",
    "ALTER TABLE otaku.users ADD COLUMN more int",
    "DROP TABLE otaku.quarantine",
    "CREATE INDEX more ON otaku.users (batch_id)",
    "ALTER TABLE otaku.decisions DISABLE TRIGGER ALL",
    "CREATE SCHEMA more",
    "TRUNCATE otaku.feedback CASCADE",
    "UPDATE otaku.alembic_version SET version_num = '9999'",
    "UPDATE otaku.schema_compatibility SET oldest_code = '9999'",
    "DELETE FROM otaku.decisions",
    "UPDATE otaku.decisions SET reason = 'another'",
)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_changes_tables_or_what_was_decided(connect: Connect, role: str) -> None:
    engine = connect(role)
    assert [statement for statement in DDL if not refuses(engine, statement)] == []


@pytest.mark.parametrize("role", ["otaku_service", "otaku_jobs", "otaku_backup"])
def test_every_table_is_read_by_every_role(connect: Connect, role: str) -> None:
    engine = connect(role)
    with engine.connect() as connection:
        for table in metadata.tables.values():
            connection.execute(select(func.count()).select_from(table))
    require_schema(engine)


DECISION = (
    "INSERT INTO otaku.decisions (run_key, action, actor, reason, evidence) "
    "VALUES ('by-hand', 'keep', 'user:x', 'no reason', '{}')"
)


def test_service_writes_what_users_say_and_decides_nothing(connect: Connect) -> None:
    service = connect("otaku_service")
    with service.begin() as connection:
        user_id = register_user(connection, {1: 9, 2: 7}, dt.date(2026, 1, 5))
        row = {"idempotency_key": "a", "user_id": user_id, "item_id": 3, "kind": "rating", "rating": 8}
        connection.execute(insert(feedback).values(row))
    with service.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM otaku.latest_opinions")) == 1
        assert delete_user(connection, user_id)
    forbidden = (
        DECISION,
        "INSERT INTO otaku.api_keys (key_digest, name, scopes) VALUES ('x', 'x', '{admin}')",
        "UPDATE otaku.api_keys SET scopes = '{admin}'",
        "DELETE FROM otaku.items",
        "INSERT INTO otaku.arrivals (day, n_users, n_ratings, n_generated, batch_id) VALUES (now(), 1, 1, 0, 'x')",
        "DELETE FROM otaku.quarantine",
    )
    assert [statement for statement in forbidden if not refuses(service, statement)] == []
    assert not refuses(connect("otaku_operations"), DECISION)


def test_jobs_do_their_work_without_the_right_to_migrate(connect: Connect) -> None:
    jobs = connect("otaku_jobs")
    assert migrate(jobs) == []
    report = add_new_users(jobs, dt.date(2026, 1, 5), cohort_size=(10, 25))
    assert report.n_users >= 10
    with jobs.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO otaku.feedback (idempotency_key, user_id, item_id, kind, rating) "
            "SELECT 'a', min(user_id), 4, 'rating', 8 FROM otaku.users"
        )
    assert fold_feedback(jobs, dt.date(2026, 1, 5)).n_feedback == 1
    assert not refuses(jobs, DECISION)


def test_backup_writes_nothing(connect: Connect) -> None:
    backup = connect("otaku_backup")
    for statement in (DECISION, "DELETE FROM otaku.users", "SELECT nextval('otaku.new_user_ids')"):
        assert refuses(backup, statement)


def set_applied(owner: Engine, number: str, oldest_code: str | None = None) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE otaku.alembic_version SET version_num = :number"), {"number": number})
        if oldest_code is not None:
            connection.execute(text("UPDATE otaku.schema_compatibility SET oldest_code = :o"), {"o": oldest_code})


def settings_of(database_url: str, role: str) -> Settings:
    return build_settings(database_url=SecretStr(url_of(database_url, role)))


def test_tables_that_are_too_old_are_refused_in_one_sentence(
    owner: Engine, connect: Connect, database_url: str
) -> None:
    set_applied(owner, "0010")
    needed = list_migrations()[-1][:4]
    with pytest.raises(ConfigurationError, match=f"of migration 0010, and this code needs {needed}; run `otaku mig"):
        _check_schema(settings_of(database_url, "otaku_service"))
    with pytest.raises(ConfigurationError, match="as the role that owns schema otaku"):
        migrate(connect("otaku_jobs"))


def test_tables_of_a_newer_release_are_used_as_long_as_it_says_so(
    owner: Engine, connect: Connect, database_url: str
) -> None:
    needed = list_migrations()[-1][:4]
    set_applied(owner, "9001", needed)
    _check_schema(settings_of(database_url, "otaku_service"))
    assert migrate(connect("otaku_jobs")) == []
    assert migrate(owner) == []
    assert read_schema_state(owner).is_newer
    set_applied(owner, "9001", "9000")
    with pytest.raises(ConfigurationError, match="install a newer release"):
        _check_schema(settings_of(database_url, "otaku_service"))
    with pytest.raises(ConfigurationError, match="install a newer release"):
        migrate(owner)


def test_a_new_table_is_granted_when_it_is_migrated(owner: Engine, connect: Connect) -> None:
    with owner.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE otaku.more (id int)")
    assert refuses(connect("otaku_jobs"), "INSERT INTO otaku.more VALUES (1)")
    with owner.begin() as connection:
        assert set(grant_roles(connection)) == set(ROLES)
    assert not refuses(connect("otaku_jobs"), "INSERT INTO otaku.more VALUES (1)")


def test_owner_without_administration_migrates_an_empty_database(empty_database_url: str) -> None:
    admin = psycopg2.connect(empty_database_url)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(migration.read_roles_sql().split("GRANT USAGE")[0])
        cursor.execute(
            f"DROP ROLE IF EXISTS migrations_login; CREATE ROLE migrations_login LOGIN PASSWORD '{PASSWORD}'"
        )
        cursor.execute("CREATE SCHEMA otaku AUTHORIZATION migrations_login")
    engine = create_database_engine(url_of(empty_database_url, "migrations"))
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), admin.cursor() as cursor:
        cursor.execute("SET ROLE otaku_jobs; SELECT count(*) FROM otaku.users")
    assert len(migrate(engine)) == len(list_migrations())
    engine.dispose()
    with admin.cursor() as cursor:
        cursor.execute("SET ROLE otaku_jobs; SELECT count(*) FROM otaku.users; RESET ROLE")
        cursor.execute("DROP OWNED BY migrations_login CASCADE; DROP ROLE migrations_login")
    admin.close()
