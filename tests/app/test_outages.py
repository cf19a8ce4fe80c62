"""PostgreSQL, S3, MLflow and Redis stopped and started again while clients keep sending requests to the service."""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otaku.platform import object_store, postgres, supervisor, tracking
from otaku.platform.local import LocalPlatform
from recsys.connections import open_engine, open_registry, open_store
from recsys.settings import Settings
from recsys.storage.migration import migrate
from tests.app.harness import RedisServer, wait_for
from tests.app.live import Ledger, Load, Server, fill_database, register, run_server
from tests.conftest import build_settings

pytestmark = [pytest.mark.local, pytest.mark.slow]
USERS: list[dict[str, Any]] = [{"user_input": user, "k": k} for user in (7, 8, 9) for k in range(1, 9)]
OTHERS: list[dict[str, Any]] = [
    {**body, "k": k} for k in range(1, 9) for body in ({"user_input": "Monster"}, {"ratings": {"1": 9}}, {})
]
NAME = "anime-outages"
PATIENCE = 20  # seconds that the queue and the database may take: longer than any busy machine needs


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
    """PostgreSQL, S3 and MLflow with all users of the tiny world and one version in Production."""
    with tempfile.TemporaryDirectory(prefix="otaku-outages-") as home:
        running = Site(Path(home))
        try:
            with open_engine(running.settings) as engine:
                migrate(engine)
            fill_database(running.settings)
            open_store(running.settings).ensure_bucket()
            registry = open_registry(running.settings.model_copy(update={"model_name": NAME}))
            Ledger(running.settings, registry).promote(register(registry, model_folders[1], "first"))
            yield running
        finally:
            running.platform.take_down()


class Clients(Load):
    """Clients that ask for users and for others, and note who was turned away.

    Users may be turned away only while the database is away, which is to say if their request was under way at any
    moment between `goes_away` and `is_back`.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server, USERS + OTHERS, self._evaluate_models, n_clients=3)
        self._away = False
        self._back_since = -math.inf
        self.refusal_seconds: list[float] = []
        self.n_served_users = 0

    def goes_away(self) -> None:
        self.refusal_seconds.clear()
        self._away = True

    def is_back(self) -> None:
        self._away, self._back_since = False, time.perf_counter()

    def _evaluate_models(self, number: int, status: int, response: dict[str, Any]) -> str | None:
        seconds = self.seconds[-1]
        is_user = number < len(USERS)
        if status == 503 and is_user and (self._away or time.perf_counter() - seconds <= self._back_since):
            self.refusal_seconds.append(seconds)
            return None
        self.n_served_users += is_user and status == 200
        return None if status == 200 else f"{status} after {seconds:.2f} s for payload {number}: {response}"


@contextmanager
def under_load(site: Site, **more: str) -> Iterator[tuple[Server, Clients]]:
    """Run the service and its clients; no request is rejected because the machine is busy."""
    patient = {"OTAKU_WAIT_SECONDS": str(PATIENCE), "OTAKU_DATABASE_SECONDS": str(PATIENCE)}
    with run_server(site.settings, NAME, OTAKU_WATCH_SECONDS="0.2", **patient, **more) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200)
        with Clients(server) as clients:
            wait_for(lambda: clients.n_responses > 30)
            yield server, clients
        assert clients.wrong == []
        assert statistics.median(clients.seconds) < 0.9


def problems(server: Server) -> list[str]:
    status, health = server.ask("/health/ready")
    assert status == 200
    found: list[str] = health["problems"]
    return found


def test_without_a_database_users_are_told_at_once_and_other_requests_are_unaffected(site: Site) -> None:
    with under_load(site, OTAKU_CACHE_SECONDS="0") as (server, clients):
        for _ in range(2):
            clients.goes_away()
            site.stop(postgres.NAME)
            wait_for(lambda: len(clients.refusal_seconds) > 20)
            wait_for(lambda: "the database does not answer" in problems(server))
            before = clients.n_responses
            wait_for(lambda seen=before: clients.n_responses > seen + 30)
            # At once: half of them far sooner than a user waits, and nobody as long as a slow database may take.
            assert statistics.median(clients.refusal_seconds) < 0.9
            assert max(clients.refusal_seconds) < PATIENCE
            site.start()
            wait_for(lambda: problems(server) == [])
            clients.is_back()
            before = clients.n_served_users
            wait_for(lambda seen=before: clients.n_served_users > seen + 20)


@pytest.mark.e2e
def test_without_registry_or_object_store_the_model_stays_and_it_is_told(site: Site) -> None:
    with under_load(site) as (server, clients):
        site.stop(tracking.NAME, object_store.NAME)
        wait_for(lambda: "the registry does not answer" in problems(server))
        before = clients.n_responses
        wait_for(lambda: clients.n_responses > before + 50)
        site.start()
        wait_for(lambda: problems(server) == [])


@pytest.mark.e2e
def test_a_service_that_starts_without_registry_and_object_store_serves_the_last_good_model(site: Site) -> None:
    with run_server(site.settings, NAME) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200)
        version = server.ask("/model")[1]["version"]
    site.stop(tracking.NAME, object_store.NAME)
    try:
        with run_server(site.settings, NAME) as server:
            wait_for(lambda: server.ask("/health/ready")[0] == 200)
            assert server.ask("/model")[1]["version"] == version
            assert server.ask("/recommend/", {"user_input": 7})[1]["kind"] == "existing_user"
            assert problems(server) == ["the registry does not answer"]
    finally:
        site.start()


def test_without_redis_nothing_is_cached_and_requests_succeed(site: Site, redis_server: RedisServer) -> None:
    with under_load(site, OTAKU_REDIS_URL=redis_server.url, OTAKU_RATE_LIMIT="100000/second") as (_, clients):
        for _ in range(2):
            redis_server.stop()
            before = clients.n_responses
            wait_for(lambda seen=before: clients.n_responses > seen + 50)
            redis_server.start()
            before = clients.n_responses
            wait_for(lambda seen=before: clients.n_responses > seen + 50)
