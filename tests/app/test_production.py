"""The service as it is started, on a real PostgreSQL, S3 and MLflow."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recsys.connections import open_registry
from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.registry import PRODUCTION, Registry
from recsys.storage.tables import items, ratings, users
from tests.app.harness import wait_for
from tests.factories import tiny_world

pytestmark = [pytest.mark.local, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


class Server:
    """A running `python -m app`."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.lines.extend(iter(lines.readline, ""))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self._reader.join(10)

    def url(self) -> str:
        for line in list(self.lines):
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                return found[1]
        return ""

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url() + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return open_registry(settings.model_copy(update={"model_name": f"anime-{uuid.uuid4().hex[:8]}"}))


@pytest.fixture
def server(settings: Settings, registry: Registry) -> Iterator[Server]:
    """The service over a database with everybody of the tiny world, and a registry without any version."""
    catalog, interactions = tiny_world()
    assert settings.database_url is not None
    engine = create_database_engine(settings.database_url.get_secret_value())
    with engine.begin() as connection:
        upsert_rows(connection, items, catalog.items)
        people = pd.DataFrame({"user_id": interactions.user_ids, "batch_id": "test"})
        upsert_rows(connection, users, people)
        upsert_rows(connection, ratings, interactions.table)
    engine.dispose()
    assert settings.aws_access_key_id is not None
    assert settings.aws_secret_access_key is not None
    running = Server(
        {
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "OTAKU_PORT": "0",
            "OTAKU_DATABASE_URL": settings.database_url.get_secret_value(),
            "OTAKU_S3_ENDPOINT_URL": str(settings.s3_endpoint_url),
            "OTAKU_S3_BUCKET": settings.s3_bucket,
            "OTAKU_MODEL_NAME": registry.model_name,
            "AWS_ACCESS_KEY_ID": settings.aws_access_key_id.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key.get_secret_value(),
            "MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        }
    )
    try:
        wait_for(lambda: bool(running.url()) or running.process.poll() is not None, 90)
        assert running.process.poll() is None, running.lines
        yield running
    finally:
        code = running.stop()
    assert code in (0, -signal.SIGTERM), running.lines


def register(registry: Registry, folder: Path, run_key: str) -> int:
    return registry.register_model(registry.start_run(run_key), folder, run_key)


@contextmanager
def asking(server: Server, n_clients: int = 2) -> Iterator[list[tuple[int, Any]]]:
    """Keep clients asking all kinds of questions; yield what they were answered, as status and version."""
    stop, answers = threading.Event(), list[tuple[int, Any]]()

    def keep_asking() -> None:
        bodies: list[dict[str, Any]] = [{"user_input": 7}, {"user_input": "Monstre"}, {"ratings": {"1": 9}}, {}]
        while not stop.is_set():
            for body in bodies:
                status, answer = server.ask("/recommend/", body)
                answers.append((status, answer.get("model", {}).get("version")))

    clients = [threading.Thread(target=keep_asking) for _ in range(n_clients)]
    for client in clients:
        client.start()
    try:
        yield answers
    finally:
        stop.set()
        for client in clients:
            client.join(30)


def test_promotions_take_over_within_seconds_and_no_request_fails(
    server: Server, registry: Registry, model_folders: dict[int, Path], tmp_path: Path
) -> None:
    assert server.ask("/health/ready")[0] == 503
    first = register(registry, model_folders[1], "first")
    registry.point_alias(PRODUCTION, first)
    wait_for(lambda: server.ask("/health/ready")[0] == 200, 60)

    with asking(server) as answers:
        second = register(registry, model_folders[2], "second")
        registry.point_alias(PRODUCTION, second)
        moved = time.monotonic()
        wait_for(lambda: server.ask("/model")[1]["version"] == second, 60)
        assert time.monotonic() - moved < 20

        broken = tmp_path / "broken"
        shutil.copytree(model_folders[1], broken)
        (broken / "relevance.lgb.txt").write_text("tree")
        registry.point_alias(PRODUCTION, register(registry, broken, "broken"))
        wait_for(lambda: any("is refused" in line for line in server.lines), 60)
        registry.point_alias(PRODUCTION, first)
        wait_for(lambda: server.ask("/model")[1]["version"] == first, 60)

    assert len(answers) > 20
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {first, second}
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
        promotion.promote(engine, registry, number, run_key=key, champion=champion, actor="person:mai", reason="a test")

    def serves(version: int) -> bool:
        return bool(server.ask("/model")[1].get("version") == version)

    decide(1, None)
    wait_for(lambda: server.ask("/health/ready")[0] == 200, 60)
    with asking(server) as answers:
        decide(2, 1)
        wait_for(lambda: serves(2), 60)
        promotion.roll_back(engine, registry, run_key="manual-back", actor="person:mai", reason="strange lists")
        wait_for(lambda: serves(1), 60)
        promotion.roll_back(engine, registry, run_key="manual-forth", actor="person:mai", reason="it was the data")
        wait_for(lambda: serves(2), 60)
    engine.dispose()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {1, 2}
