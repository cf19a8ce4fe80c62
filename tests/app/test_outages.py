"""PostgreSQL, S3, MLflow and Redis stopped and started again while clients keep asking the real service."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otaku.platform import object_store, postgres, supervisor, tracking
from otaku.platform.local import LocalPlatform
from recsys.connections import open_engine, open_registry, open_store
from recsys.settings import Settings
from recsys.storage.database import migrate
from recsys.storage.registry import PRODUCTION
from tests.app.harness import RedisServer, wait_for
from tests.app.live import Load, Server, fill_database, register, run_server
from tests.conftest import build_settings

pytestmark = [pytest.mark.local, pytest.mark.slow]
USERS: list[dict[str, Any]] = [{"user_input": user, "k": k} for user in (7, 8, 9) for k in range(1, 9)]
OTHERS: list[dict[str, Any]] = [
    {**body, "k": k} for k in range(1, 9) for body in ({"user_input": "Monster"}, {"ratings": {"1": 9}}, {})
]
NAME = "anime-outages"


class Site:
    """A platform of the test's own, whose parts can be stopped one by one."""

    def __init__(self, home: Path) -> None:
        self._given = build_settings(home=home)
        self.platform = LocalPlatform(self._given, durable=False)
        self.platform.bring_up()
        self.settings: Settings = self.platform.settings()

    def stop(self, *names: str) -> None:
        supervisor.stop([entry for entry in self.platform.running() if entry.name in names])

    def start(self) -> None:
        self.platform.bring_up()
        assert self.platform.settings() == self.settings  # everything is where it was


@pytest.fixture(scope="module")
def site(model_folders: dict[int, Path]) -> Iterator[Site]:
    """PostgreSQL, S3 and MLflow with everybody of the tiny world and one version in Production."""
    with tempfile.TemporaryDirectory(prefix="otaku-outages-") as home:
        running = Site(Path(home))
        try:
            with open_engine(running.settings) as engine:
                migrate(engine)
            fill_database(running.settings)
            open_store(running.settings).ensure_bucket()
            registry = open_registry(running.settings.model_copy(update={"model_name": NAME}))
            registry.point_alias(PRODUCTION, register(registry, model_folders[1], "first"))
            yield running
        finally:
            running.platform.take_down()


@dataclass
class Watch:
    """What may be answered at the moment, and how often it was."""

    users_may_fail: bool = False
    n_failed: int = 0
    n_users: int = 0

    def check(self, number: int, status: int, answer: dict[str, Any]) -> str | None:
        is_user = number < len(USERS)
        if status == 503 and is_user and self.users_may_fail:
            self.n_failed += 1
            return None
        self.n_users += is_user
        return None if status == 200 else f"{status} for question {number}: {answer}"


@contextmanager
def under_load(site: Site, **more: str) -> Iterator[tuple[Server, Load, Watch]]:
    with run_server(site.settings, NAME, OTAKU_WATCH_SECONDS="0.2", **more) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200, 60)
        watch = Watch()
        with Load(server, USERS + OTHERS, watch.check, n_clients=3) as load:
            wait_for(lambda: load.n_answers > 30, 30)
            yield server, load, watch
        assert load.wrong == []
        assert max(load.seconds) < 0.9 + 8  # the rest is room for a busy machine


def problems(server: Server) -> list[str]:
    status, health = server.ask("/health/ready")
    assert status == 200
    found: list[str] = health["problems"]
    return found


def test_without_a_database_users_are_told_at_once_and_nobody_else_notices(site: Site) -> None:
    with under_load(site, OTAKU_CACHE_SECONDS="0") as (server, load, watch):
        for _ in range(2):
            watch.users_may_fail, watch.n_failed = True, 0
            site.stop(postgres.NAME)
            wait_for(lambda: watch.n_failed > 20, 60)
            assert "the database does not answer" in problems(server)
            before = load.n_answers
            wait_for(lambda seen=before: load.n_answers > seen + 30, 60)
            site.start()
            wait_for(lambda: problems(server) == [], 60)
            watch.users_may_fail, seen = False, watch.n_users
            wait_for(lambda at=seen: watch.n_users > at + 20, 60)


@pytest.mark.e2e
def test_without_registry_or_object_store_the_model_stays_and_it_is_told(site: Site) -> None:
    with under_load(site) as (server, load, _):
        site.stop(tracking.NAME, object_store.NAME)
        wait_for(lambda: "the registry does not answer" in problems(server), 60)
        before = load.n_answers
        wait_for(lambda: load.n_answers > before + 50, 60)
        site.start()
        wait_for(lambda: problems(server) == [], 90)


@pytest.mark.e2e
def test_a_service_that_starts_without_registry_and_object_store_serves_the_last_good_model(site: Site) -> None:
    with run_server(site.settings, NAME) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200, 60)
        version = server.ask("/model")[1]["version"]
    site.stop(tracking.NAME, object_store.NAME)
    try:
        with run_server(site.settings, NAME) as server:
            started = time.monotonic()
            wait_for(lambda: server.ask("/health/ready")[0] == 200, 60)
            assert time.monotonic() - started < 60
            assert server.ask("/model")[1]["version"] == version
            assert server.ask("/recommend/", {"user_input": 7})[1]["kind"] == "existing_user"
            assert problems(server) == ["the registry does not answer"]
    finally:
        site.start()


def test_without_redis_nothing_is_kept_and_nobody_notices(site: Site, redis_server: RedisServer) -> None:
    with under_load(site, OTAKU_REDIS_URL=redis_server.url, OTAKU_RATE_LIMIT="100000/second") as (_, load, _watch):
        for _ in range(2):
            redis_server.stop()
            before = load.n_answers
            wait_for(lambda seen=before: load.n_answers > seen + 50, 60)
            redis_server.start()
            before = load.n_answers
            wait_for(lambda seen=before: load.n_answers > seen + 50, 60)
