"""The service as it is started, and clients that keep sending requests."""

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection

from recsys.connections import open_engine
from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.database import upsert_rows
from recsys.storage.registry import Registry
from recsys.storage.tables import items, ratings, users
from tests.app.harness import wait_for
from tests.conftest import spell_mlflow_credentials
from tests.factories import tiny_world
from tests.fork_server import ROOT, Program

# For tests that are not about speed: no request is rejected because the machine has other things to do meanwhile.
PATIENCE = {"OTAKU_WAIT_SECONDS": "20", "OTAKU_DATABASE_SECONDS": "20", "OTAKU_MAX_WAITING": "1000"}


class Server:
    """A running `python -m app`, or another program that serves."""

    def __init__(self, environment: dict[str, str], program: Sequence[str] = ("-m", "app")) -> None:
        self.process = Program(program, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
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
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
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
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def read_text(self, path: str) -> str:
        with urllib.request.urlopen(self.url() + path, timeout=60) as response:
            text: str = response.read().decode()
            return text


def write_tiny_world(connection: Connection) -> None:
    """Write the titles, users and ratings of the tiny world."""
    catalog, interactions = tiny_world()
    upsert_rows(connection, items, catalog.items)
    upsert_rows(connection, users, pd.DataFrame({"user_id": interactions.user_ids, "batch_id": "test"}))
    upsert_rows(connection, ratings, interactions.table)


def fill_database(settings: Settings) -> None:
    """Write the tiny world into the database of the settings."""
    with open_engine(settings) as engine, engine.begin() as connection:
        write_tiny_world(connection)


@contextmanager
def run_server(
    settings: Settings,
    model_name: str,
    *,
    program: Sequence[str] = ("-m", "app"),
    codes: Sequence[int] = (0, -signal.SIGTERM),
    **more: str,
) -> Iterator[Server]:
    """Run the service over the services of complete settings until the block ends, then see it end by these codes."""
    assert settings.database_url is not None
    assert settings.aws_access_key_id is not None
    assert settings.aws_secret_access_key is not None
    environment = {
        "PATH": os.environ["PATH"],
        # Other kernels of BLAS round otherwise than those by which the golden requests were answered.
        **{name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")},
        "OMP_NUM_THREADS": "1",
        "OTAKU_HOME": str(settings.home),
        "OTAKU_PORT": "0",
        "OTAKU_TRIAL_SECONDS": "0",  # it takes seconds for each version; tests/hostile has it
        "OTAKU_DATABASE_URL": settings.database_url.get_secret_value(),
        "OTAKU_S3_ENDPOINT_URL": str(settings.s3_endpoint_url),
        "OTAKU_S3_BUCKET": settings.s3_bucket,
        "OTAKU_MODEL_NAME": model_name,
        "AWS_ACCESS_KEY_ID": settings.aws_access_key_id.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key.get_secret_value(),
        "MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        **spell_mlflow_credentials(settings),
    }
    running = Server(environment | more, program)
    try:
        wait_for(lambda: bool(running.url()) or running.process.poll() is not None)
        assert running.process.poll() is None, running.lines
        yield running
    finally:
        code = running.stop()
    assert code in codes, running.lines


def register(registry: Registry, folder: Path, run_key: str) -> int:
    return registry.register_model(registry.start_run(run_key), folder, run_key)


class Ledger:
    """Promotes and rolls back as users do, and knows what is in Production and what was before."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._registry = settings, registry
        self._names = (f"move-{number}" for number in itertools.count())
        self.previous: int | None = None
        self.champion: int | None = None

    def promote(self, version: int) -> None:
        named = {"run_key": next(self._names), "actor": "user:test", "reason": "a test"}
        with open_engine(self._settings) as engine:
            promotion.promote(engine, self._registry, version, champion=self.champion, **named)
        self.previous, self.champion = self.champion, version

    def roll_back(self) -> None:
        named = {"run_key": next(self._names), "actor": "user:test", "reason": "a test"}
        with open_engine(self._settings) as engine:
            promotion.roll_back(engine, self._registry, **named)
        self.previous, self.champion = self.champion, self.previous


Check = Callable[[int, int, dict[str, Any]], str | None]


class Load:
    """Clients that keep sending requests over open connections, from a thread of their own.

    Parameters
    ----------
    payloads
        Bodies for `POST /recommend/`.
    check
        Given the number of a payload, a status and a response, says what is wrong with it, or None.
    pause
        Seconds between a response and the next request of a client, so that a service has time for other things.
    """

    def __init__(
        self,
        server: Server,
        payloads: Sequence[dict[str, Any]],
        check: Check,
        n_clients: int = 8,
        pause: float = 0.0,
    ) -> None:
        host, _, port = server.url().removeprefix("http://").partition(":")
        self._address = host, int(port)
        bodies = [json.dumps(payload).encode() for payload in payloads]
        self._requests = [
            b"POST /recommend/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            for body in bodies
        ]
        self._check = check
        self._n_clients = n_clients
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.wrong: list[str] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def n_responses(self) -> int:
        return sum(self.statuses.values())

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask(number) for number in range(self._n_clients)))

    async def _ask(self, number: int) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            while not self._stop.is_set():
                number = (number + self._n_clients + 1) % len(self._requests)
                started = time.perf_counter()
                writer.write(self._requests[number])
                try:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    length = re.search(r"(?i)content-length: (\d+)", head)
                    body = await reader.readexactly(int(length[1]) if length else 0)
                except (OSError, asyncio.IncompleteReadError) as error:
                    self.wrong.append(f"no response: {error!r}")
                    return
                self.seconds.append(time.perf_counter() - started)
                self._note(number, int(head[9:12]), json.loads(body))
                if "connection: close" in head.lower():
                    writer.close()
                    reader, writer = await asyncio.open_connection(*self._address)
                await asyncio.sleep(self._pause)
        finally:
            writer.close()

    def _note(self, number: int, status: int, response: dict[str, Any]) -> None:
        self.statuses[status] += 1
        self.versions[response.get("model", {}).get("version", 0)] += 1
        problem = self._check(number, status, response)
        if problem is not None and len(self.wrong) < 100:
            self.wrong.append(problem)
