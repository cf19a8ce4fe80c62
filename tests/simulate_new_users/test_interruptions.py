"""Processes that run at once, die half-way or lose the database: still one effect, wholly or not at all."""

import datetime as dt
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from recsys.exceptions import ArrivalError, ServiceUnavailableError
from recsys.storage.database import advisory_lock, create_database_engine
from recsys.storage.tables import users
from simulate_new_users import __main__, job
from simulate_new_users.arrivals import EPOCH
from tests.fork_server import Program

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[2]
LATE = EPOCH + dt.timedelta(days=60)

# Runs the job up to the n-th bulk write, says so, and waits there to be killed.
STOP_HALF_WAY = """
import sys, time
from recsys.storage.tables import users
from simulate_new_users import __main__, job
calls = []
def stop_before(write):
    def stop(connection, table, *values):
        calls.append(table.name)
        if len(calls) == int(sys.argv[1]):
            print("half-way", flush=True)
            time.sleep(60)
        return write(connection, table, *values)
    return stop
job.upsert_rows, job.upsert_sourced = stop_before(job.upsert_rows), stop_before(job.upsert_sourced)
sys.exit(__main__.main(sys.argv[2:]))
"""


def start(url: str, *arguments: str) -> Program:
    environment = os.environ | {"OTAKU_DATABASE_URL": url, "OMP_NUM_THREADS": "1"}
    return Program(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("day", [EPOCH, LATE])
@pytest.mark.parametrize("nth_write", [1, 2])
def test_killed_half_way_and_run_again_is_as_if_undisturbed(
    engine: Engine,
    database_url: str,
    read_tables: Callable,
    forget_arrivals: Callable,
    day: dt.date,
    nth_write: int,
) -> None:
    before = read_tables()
    job.add_new_users(engine, day)
    undisturbed = read_tables()
    forget_arrivals()
    with start(database_url, "-c", STOP_HALF_WAY, str(nth_write), "--day", str(day)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half-way\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert read_tables() == before
    assert not job.add_new_users(engine, day).already_arrived
    assert read_tables() == undisturbed


def test_two_processes_at_once_have_one_effect(
    engine: Engine, database_url: str, read_tables: Callable, forget_arrivals: Callable
) -> None:
    job.add_new_users(engine, EPOCH)
    once = read_tables()
    forget_arrivals()
    waiting = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
        "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    with engine.connect() as connection:
        with connection.begin(), advisory_lock(connection, "arrivals"):
            processes = [start(database_url, "-m", "simulate_new_users", "--day", str(EPOCH)) for _ in range(2)]
            deadline = time.monotonic() + 300
            while connection.scalar(waiting) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        answers = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted("nothing to do" in out for out, _ in answers) == [False, True]
    assert read_tables() == once


@pytest.mark.parametrize("nth_write", [1, 2])
def test_a_database_that_goes_away_half_way_leaves_nothing(
    engine: Engine,
    database_url: str,
    read_tables: Callable,
    monkeypatch: pytest.MonkeyPatch,
    nth_write: int,
) -> None:
    before = read_tables()
    written = []

    def cut_before(write: Callable[..., int]) -> Callable[..., int]:
        def cut(connection: Any, table: Any, *values: Any) -> int:
            written.append(table.name)
            if len(written) == nth_write:
                pid = connection.scalar(text("SELECT pg_backend_pid()"))
                other = create_database_engine(database_url)
                with other.connect() as outside:
                    outside.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
                other.dispose()
            return write(connection, table, *values)

        return cut

    monkeypatch.setattr(job, "upsert_rows", cut_before(job.upsert_rows))
    monkeypatch.setattr(job, "upsert_sourced", cut_before(job.upsert_sourced))
    with pytest.raises(ServiceUnavailableError):
        job.add_new_users(engine, EPOCH)
    assert len(written) == nth_write
    assert read_tables() == before


def test_a_user_added_meanwhile_by_another_process_is_one_clear_error(
    engine: Engine, database_url: str, read_tables: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_cohort = job.read_cohort

    def read_then_be_overtaken(*arguments: Any) -> Any:
        cohort = read_cohort(*arguments)
        with engine.begin() as outside:
            outside.execute(insert(users).values(user_id=1025, batch_id="ingest"))
        return cohort

    expected = read_tables()
    expected["users"] = sorted([*expected["users"], (1025, None, "ingest")])
    monkeypatch.setattr(job, "read_cohort", read_then_be_overtaken)
    with pytest.raises(ArrivalError, match=r"another process added the same users.*run again"):
        job.add_new_users(engine, EPOCH)
    assert read_tables() == expected
    monkeypatch.undo()
    assert 1025 not in job.add_new_users(engine, EPOCH).user_ids


def test_a_lock_that_is_never_released_ends_in_one_clear_error(engine: Engine, database_url: str) -> None:
    impatient = create_database_engine(database_url, statement_timeout=2)
    gives_up = pytest.raises(ServiceUnavailableError, match=r"gave up, nothing was written.*timeout")
    with engine.begin() as connection, advisory_lock(connection, "arrivals"), gives_up:
        job.add_new_users(impatient, EPOCH)
    impatient.dispose()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_database_that_is_down_is_one_sentence_and_exit_code_1(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTAKU_DATABASE_URL", f"postgresql://someone:secret-word@127.0.0.1:{closed_port}/otaku")
    assert __main__.main(["--day", "2026-01-05"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("simulate_new_users: PostgreSQL does not answer")
    assert captured.err.count("\n") == 1
    assert "secret-word" not in captured.err
