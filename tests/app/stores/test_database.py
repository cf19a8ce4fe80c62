"""When the service takes its database for down, and when for well."""

import asyncio
import threading

import pytest
from sqlalchemy import Connection, text

from app.stores.database import MAX_FAILURES, N_THREADS, Database
from recsys.exceptions import ServiceUnavailableError
from recsys.storage.database import create_database_engine

pytestmark = pytest.mark.local


def response(connection: Connection) -> int:
    return int(connection.execute(text("SELECT 7")).scalar_one())


def fail(connection: Connection) -> int:
    raise ServiceUnavailableError("the connection is lost")


async def fail_often(database: Database) -> None:
    for _ in range(MAX_FAILURES):
        with pytest.raises(ServiceUnavailableError, match="lost"):
            await database.read(fail)


def test_failures_in_a_row_are_an_outage_until_a_call_succeeds(database_url: str) -> None:
    now = 0.0

    async def scenario() -> None:
        nonlocal now
        with Database(create_database_engine(database_url), 60, lambda: now) as database:
            assert await database.read(response) == 7
            assert not database.is_down
            await fail_often(database)
            assert database.is_down
            with pytest.raises(ServiceUnavailableError, match="a moment ago"):
                await database.read(response)
            now = 1.0
            assert await database.read(response) == 7
            assert not database.is_down

    asyncio.run(scenario())


def test_what_began_in_an_outage_and_fails_after_it_is_no_new_one(database_url: str) -> None:
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def fail_late(_: Connection) -> int:
        begun.release()
        assert go_on.wait(90)
        raise ServiceUnavailableError("the connection is lost")

    async def scenario() -> None:
        with Database(create_database_engine(database_url), 90) as database:
            late = [asyncio.create_task(database.read(fail_late)) for _ in range(N_THREADS - 1)]
            for _ in late:
                assert await asyncio.to_thread(begun.acquire, timeout=90)
            assert await database.read(response) == 7
            go_on.set()
            found = await asyncio.gather(*late, return_exceptions=True)
            assert [type(error) for error in found] == [ServiceUnavailableError] * len(late)
            assert not database.is_down
            await fail_often(database)
            assert database.is_down

    asyncio.run(scenario())


def test_who_loses_in_a_deadlock_writes_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.stores.database.WRITE_SECONDS", 90.0)
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.pairs (name text PRIMARY KEY, n int NOT NULL)"))
        connection.execute(text("INSERT INTO public.pairs VALUES ('one', 0), ('other', 0)"))
    both_hold_one, attempts = threading.Barrier(2), []

    def add(connection: Connection, first: str, second: str) -> int:
        attempts.append(first)
        step = text("UPDATE public.pairs SET n = n + 1 WHERE name = :name")
        connection.execute(step, {"name": first})
        if attempts.count(first) == 1:
            both_hold_one.wait(60)
        connection.execute(step, {"name": second})
        return 1

    async def scenario() -> None:
        with Database(engine, 90) as database:
            writes = [
                database.write(lambda connection: add(connection, "one", "other")),
                database.write(lambda connection: add(connection, "other", "one")),
            ]
            assert await asyncio.gather(*writes) == [1, 1]
            assert not database.is_down

    asyncio.run(scenario())
    with engine.connect() as connection:
        assert connection.execute(text("SELECT n FROM public.pairs")).scalars().all() == [2, 2]
    engine.dispose()
    assert len(attempts) >= 3
