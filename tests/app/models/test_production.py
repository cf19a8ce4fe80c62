"""The service as it is started, on a real PostgreSQL, S3 and MLflow."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.database import create_database_engine
from recsys.storage.registry import Registry
from tests.app.harness import wait_for
from tests.app.live import PATIENCE, Ledger, Server, fill_database, register, run_server

pytestmark = [pytest.mark.local, pytest.mark.slow]


@pytest.fixture
def server(settings: Settings, registry: Registry) -> Iterator[Server]:
    """The service over a database with all users of the tiny world, and a registry without any version."""
    fill_database(settings)
    with run_server(settings, registry.model_name, **PATIENCE) as running:
        yield running


@contextmanager
def sending(server: Server, n_clients: int = 2) -> Iterator[list[tuple[int, Any]]]:
    """Keep clients sending all kinds of requests; yield the status and version of each response."""
    stop, responses = threading.Event(), list[tuple[int, Any]]()

    def keep_asking() -> None:
        bodies: list[dict[str, Any]] = [{"user_input": 7}, {"user_input": "Monstre"}, {"ratings": {"1": 9}}, {}]
        while not stop.is_set():
            for body in bodies:
                status, response = server.ask("/recommend/", body)
                responses.append((status, response.get("model", {}).get("version")))

    clients = [threading.Thread(target=keep_asking) for _ in range(n_clients)]
    for client in clients:
        client.start()
    try:
        yield responses
    finally:
        stop.set()
        for client in clients:
            client.join(30)


def test_promotions_take_over_and_no_request_fails(
    server: Server, registry: Registry, model_folders: dict[int, Path], settings: Settings, tmp_path: Path
) -> None:
    assert server.ask("/health/ready")[0] == 503
    first = register(registry, model_folders[1], "first")
    ledger = Ledger(settings, registry)
    ledger.promote(first)
    wait_for(lambda: server.ask("/health/ready")[0] == 200)

    with sending(server) as responses:
        second = register(registry, model_folders[2], "second")
        ledger.promote(second)
        wait_for(lambda: server.ask("/model")[1]["version"] == second)

        broken = tmp_path / "broken"
        shutil.copytree(model_folders[1], broken)
        (broken / "relevance.lgb.txt").write_text("tree")
        ledger.promote(register(registry, broken, "broken"))
        wait_for(lambda: any("is refused" in line for line in server.lines))
        ledger.promote(first)
        wait_for(lambda: server.ask("/model")[1]["version"] == first)

    assert len(responses) > 20
    assert {status for status, _ in responses} == {200}
    assert {version for _, version in responses} == {first, second}
    kinds = [server.ask("/recommend/", body)[1]["kind"] for body in ({"user_input": 7}, {"user_input": 10**6})]
    assert kinds == ["existing_user", "new_user"]


def test_rolled_back_and_forward_while_it_answers(
    server: Server, registry: Registry, model_folders: dict[int, Path], settings: Settings
) -> None:
    assert settings.database_url is not None
    engine = create_database_engine(settings.database_url.get_secret_value())
    register(registry, model_folders[1], "first")
    register(registry, model_folders[2], "second")

    def decide(number: int, champion: int | None) -> None:
        key = f"manual-{number}"
        promotion.promote(engine, registry, number, run_key=key, champion=champion, actor="user:mai", reason="a test")

    def serves(version: int) -> bool:
        return bool(server.ask("/model")[1].get("version") == version)

    decide(1, None)
    wait_for(lambda: server.ask("/health/ready")[0] == 200)
    with sending(server) as responses:
        decide(2, 1)
        wait_for(lambda: serves(2))
        promotion.roll_back(engine, registry, run_key="manual-back", actor="user:mai", reason="strange lists")
        wait_for(lambda: serves(1))
        promotion.roll_back(engine, registry, run_key="manual-forth", actor="user:mai", reason="it was the data")
        wait_for(lambda: serves(2))
    engine.dispose()
    assert {status for status, _ in responses} == {200}
    assert {version for _, version in responses} == {1, 2}
