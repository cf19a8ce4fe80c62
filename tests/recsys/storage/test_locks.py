"""A lock that outlasts every timeout of the server."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from recsys.storage.database import create_database_engine
from recsys.storage.locks import hold_lock

pytestmark = pytest.mark.local


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_database_engine(database_url, statement_timeout=1)
    yield engine
    engine.dispose()


def test_one_waits_for_the_other_beyond_the_timeouts_of_the_server(engine: Engine) -> None:
    order: list[str] = []

    def second() -> None:
        with hold_lock(engine, "long work", poll_seconds=0.05):
            order.append("second")

    waiting = threading.Thread(target=second)
    with hold_lock(engine, "long work", poll_seconds=0.05):
        waiting.start()
        time.sleep(2.5)
        order.append("first")
    waiting.join(timeout=90)
    assert order == ["first", "second"]


def test_other_names_do_not_wait(engine: Engine) -> None:
    with hold_lock(engine, "one"), hold_lock(engine, "another"):
        pass


def test_a_lost_connection_is_a_warning(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    cut = text(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database() AND query ~ 'advisory'"
    )
    with hold_lock(engine, "work"), engine.connect() as other:
        assert other.scalar(cut)  # once it is gone
    assert "lock 'work' was lost" in caplog.text
    with hold_lock(engine, "work"):
        pass


def test_an_error_inside_releases_the_lock(engine: Engine) -> None:
    with pytest.raises(ValueError, match="inside"), hold_lock(engine, "work"):
        raise ValueError("inside")
    with hold_lock(engine, "work"):
        pass
