"""One person's history, and one client's registrations, take nobody else down."""

import asyncio
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, event, insert, select, text

from app.main import create_app
from app.stores.database import MAX_FAILURES, N_THREADS, Database
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.database import create_database_engine
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.tables import feedback, feedback_folds, latest_opinions
from recsys.storage.users import delete_user, read_user
from recsys.types import WatchStatus
from tests.app.harness import BASE_URL, FolderSource, TestClient

pytestmark = pytest.mark.local


def count_read_rows(engine: Engine, user_id: int) -> int:
    """Count the rows that PostgreSQL looks at for one history."""
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, given: object, *_: object) -> None:
        statements.append((statement, given))

    event.listen(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        read_user(connection, user_id)
    event.remove(engine, "before_cursor_execute", note)
    ((statement, given),) = statements
    with engine.connect() as connection:
        (plan,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given).scalar_one()

    def add_up(node: dict) -> int:
        own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if "Relation Name" in node else 0
        return int(own * node["Actual Loops"]) + sum(map(add_up, node.get("Plans", [])))

    return add_up(plan["Plan"])


def say_often(engine: Engine, user_id: int, n_events: int, item_id: int = 1) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO otaku.feedback (idempotency_key, user_id, item_id, kind, rating) "
                "SELECT 'k' || n, :user, :item, 'rating', 1 + n % 10 FROM generate_series(1, :n) AS n"
            ),
            {"user": user_id, "item": item_id, "n": n_events},
        )


def test_a_history_is_as_long_as_its_titles(engine: Engine) -> None:
    before = count_read_rows(engine, 7)
    say_often(engine, 7, 20_000)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE otaku.latest_opinions"))

    assert count_read_rows(engine, 7) <= before + 10
    with engine.connect() as connection:
        found = read_user(connection, 7)
        assert found is not None
        assert found.ratings[1] == 1  # of the last one, 20,000


def test_the_latest_word_counts_in_whatever_order_it_is_written(engine: Engine) -> None:
    def write(*rows: tuple[str, str, int | None, str]) -> None:
        names = ("idempotency_key", "kind", "rating", "created_at")
        with engine.begin() as connection:
            for row in rows:
                connection.execute(insert(feedback).values(user_id=7, item_id=1, **dict(zip(names, row, strict=True))))

    write(("a", "rating", 9, "2099-01-02Z"), ("b", "rating", 3, "2099-01-01Z"), ("c", "plan", None, "2099-01-01Z"))
    write(
        ("d", "click", None, "2099-01-05Z"), ("e", "seen", None, "2099-01-03Z"), ("f", "dismissal", None, "2099-01-03Z")
    )
    with engine.begin() as connection:
        found = read_user(connection, 7)
        assert found is not None
        assert (found.ratings[1], found.statuses[1], found.dismissed_item_ids) == (9, WatchStatus.Completed, (1,))
        rows = connection.execute(select(latest_opinions.c.subject, latest_opinions.c.kind)).all()
        assert sorted(map(tuple, rows)) == [("dismissal", "dismissal"), ("rating", "rating"), ("status", "seen")]
        connection.execute(
            insert(feedback_folds).values(last_feedback_id=10**9, day="2099-01-06", n_feedback=6, n_ratings=1)
        )
        folded = read_user(connection, 7)
        assert folded is not None
        assert folded.dismissed_item_ids == (1,)
        assert folded.statuses == {}
        delete_user(connection, 7)
        assert connection.scalars(select(latest_opinions.c.kind)).all() == []


def test_two_who_write_at_once_do_not_lose_a_word(engine: Engine) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 40, 2):
            given = [
                FeedbackEvent(f"{number}-{item}", 7, item, "rating", rating=1 + number % 10)
                for item in (1, 5, 6)[:: 1 if start else -1]
            ]
            with engine.begin() as connection:
                write_feedback(connection, given)

    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    with engine.connect() as connection:
        last = text(
            "SELECT DISTINCT ON (item_id) item_id, feedback_id FROM otaku.feedback "
            "ORDER BY item_id, created_at DESC, feedback_id DESC"
        )
        expected = connection.execute(last).all()
        assert len(expected) >= 2
        columns = latest_opinions.c
        kept = connection.execute(select(columns.item_id, columns.feedback_id).order_by(columns.item_id)).all()
        assert kept == expected


def test_slow_statements_are_no_outage(database_url: str) -> None:
    async def scenario() -> None:
        engine = create_database_engine(database_url, pool_size=N_THREADS)
        with Database(engine, read_seconds=1.0) as database:
            slow = [
                database.read(lambda connection: connection.execute(text("SELECT pg_sleep(4)")))
                for _ in range(N_THREADS)
            ]
            found = await asyncio.gather(*slow, return_exceptions=True)
            assert [type(error) for error in found] == [ServiceUnavailableError] * N_THREADS
            await asyncio.sleep(0)
            assert database._ping is not None
            await database._ping
            assert not database.is_down

    asyncio.run(scenario())


def test_a_statement_that_the_server_ends_is_no_outage(database_url: str) -> None:
    def sleep(connection: Connection) -> None:
        connection.execute(text("SET statement_timeout = 50"))
        connection.execute(text("SELECT pg_sleep(60)"))

    async def scenario() -> None:
        with Database(create_database_engine(database_url), read_seconds=60) as database:
            for _ in range(MAX_FAILURES):
                with pytest.raises(ServiceUnavailableError):
                    await database.read(sleep)
            assert not database.is_down

    asyncio.run(scenario())


@pytest.fixture
def limited(database_url: str, source: FolderSource, tmp_path: Path, engine: Engine) -> TestClient:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=tmp_path,
        database_url=SecretStr(database_url),
        mlflow_tracking_uri="http://127.0.0.1:1",
        trial_seconds=0,
        database_seconds=20,
        feedback_limit="5/hour",
        registration_limit="2/hour",
    )
    return TestClient(create_app(settings, source=source), BASE_URL)


def test_events_about_one_user_and_registrations_of_one_client_are_limited(limited: TestClient) -> None:
    def send(user_id: int, n_events: int, name: str) -> int:
        events = [
            {"idempotency_key": f"{name}-{n}", "user_id": user_id, "item_id": 1, "kind": "click"}
            for n in range(n_events)
        ]
        return limited.post("/feedback", json={"events": events}).status_code

    with limited:
        assert [send(7, 3, "a"), send(7, 3, "b"), send(7, 2, "c"), send(7, 1, "d"), send(8, 5, "e")] == [
            *(200, 429, 200, 429),
            200,
        ]
        statuses = [limited.post("/users", json={"ratings": {}}) for _ in range(3)]
        assert [response.status_code for response in statuses] == [201, 201, 429]
        assert int(statuses[-1].headers["Retry-After"]) > 0
        assert statuses[-1].json()["detail"].startswith("no more than 2 per 1 hour registrations for client ")
