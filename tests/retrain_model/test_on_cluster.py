"""A retraining on Dask workers: the same challenger in all that counts, and the same bytes whatever is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from distributed import Client, LocalCluster
from pydantic import HttpUrl

from recsys.exceptions import RecsysError, RetrainError, ServiceUnavailableError
from recsys.settings import Settings
from retrain_model import steps
from retrain_model.evidence import read_file_digests
from retrain_model.job import open_context
from retrain_model.reproduce import follow
from retrain_model.steps.on_cluster import fix_workers, read_workers
from tests.app.harness import wait_for
from tests.retrain_model.conftest import SUNDAY

pytestmark = [pytest.mark.local, pytest.mark.slow]
FITTING = ("snapshot", "embed_text", "fit_retrieval", "train_ranker")


def test_where_it_trains_is_an_input_of_the_attempt(settings: Settings) -> None:
    with (
        open_context(SUNDAY, settings=settings) as alone,
        open_context(SUNDAY, settings=settings, train_on="dask") as on,
    ):
        assert "train_on" not in alone.inputs
        assert on.inputs["train_on"] == "dask"
        assert alone.own_key != on.own_key
        recipe: dict[str, Any] = {**on.inputs, "algorithms": (), "environment": {"n_threads": 1, "n_workers": 3}}
        assert read_workers(follow(recipe, on, "there")) == 3
        with pytest.raises(RetrainError, match="set OTAKU_TRAIN_ON=dask"):
            follow(recipe, alone, "there")


class Workers:
    """A client of a cluster with so many workers."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers

    def sync(self, _ask: Any, client: Any) -> dict[str, Any]:
        assert client is self
        return {"workers": {f"tcp://{number}": {"name": number} for number in range(self.n_workers)}}


def test_an_attempt_keeps_the_number_of_workers_that_it_first_finds(settings: Settings) -> None:
    with open_context(SUNDAY, settings=settings, train_on="dask") as context:
        assert read_workers(context) is None
        for n_workers in (2, 1):
            fix_workers(context, Workers(n_workers))
            assert read_workers(context) == 2
        told = settings.model_copy(update={"dask_workers": 4})
        with open_context(SUNDAY, settings=told, train_on="dask") as other:
            fix_workers(other, Workers(1))
            assert read_workers(other) == 4
            assert other.own_key != context.own_key
        with open_context(SUNDAY, settings=told) as alone:
            assert read_workers(alone) is None


class Killer:
    """Kills a worker once, when a stage has made its first progress."""

    def __init__(self, client: Client, stage: str | None) -> None:
        self.client, self.stage = client, stage
        self.killed: list[int] = []

    def __call__(self, stage: str, done: int, _total: int) -> None:
        if stage == self.stage and done and not self.killed:
            self.killed.append(next(iter(self.client.run(os.getpid).values())))
            os.kill(self.killed[0], signal.SIGKILL)


def train(settings: Settings, victim: str | None, *, evaluates: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train on two workers, one of whom is lost at a stage; the digests of what was fitted, and the evaluation."""
    workers = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1")
    with workers as cluster, Client(cluster) as client:
        killer = Killer(client, victim)
        on = settings.model_copy(update={"dask_scheduler": cluster.scheduler_address, "relevance_boosters": 1})
        with open_context(SUNDAY, settings=on, train_on="dask", progress=killer) as context:
            for name in (*FITTING, *(["evaluate"] if evaluates else [])):
                getattr(steps, name)(context)
            assert bool(killer.killed) == (victim is not None)
            assert not context.store.list_keys(context.prefix("partitions"))
            digests = {step: read_file_digests(context, step) for step in FITTING[2:]}
            return digests, steps.read_evaluation(context)["models"] if evaluates else {}


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_a_retraining_on_workers_is_one_of_this_process_and_survives_the_loss_of_a_worker(
    open_world: Callable[[], Settings],
) -> None:
    digests, ours = train(open_world(), None, evaluates=True)
    for victim in ("fit retrieval", "train relevance head"):
        assert train(open_world(), victim, evaluates=False)[0] == digests
    alone = open_world().model_copy(update={"relevance_boosters": 1})
    with open_context(SUNDAY, settings=alone) as context:
        for name in (*FITTING, "evaluate"):
            getattr(steps, name)(context)
        theirs = steps.read_evaluation(context)["models"]
    assert ours.keys() == theirs.keys()
    for name in ("ease", "item_knn", "lightfm", "popular"):
        assert ours[name]["ndcg_at_10"] == pytest.approx(theirs[name]["ndcg_at_10"], abs=1e-6)
    assert ours["challenger"]["ndcg_at_10"] == pytest.approx(theirs["challenger"]["ndcg_at_10"], abs=0.1)


@contextmanager
def start_cluster(folder: Path, n_workers: int = 2) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start a scheduler and its workers as processes; yield its address and its process."""
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def start(module: str, *options: str) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *options]
        process = subprocess.Popen(words, cwd=folder, **quiet)  # type: ignore[call-overload]
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    with ExitStack() as stack:
        scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        wait_for(lambda: file.exists() and bool(file.read_text()))
        address: str = json.loads(file.read_text())["address"]
        for _ in range(n_workers):
            start("dask_worker", address, "--nthreads", "1", "--no-nanny", "--death-timeout", "20")
        with Client(address) as client:
            client.wait_for_workers(n_workers, timeout=120)
        yield address, scheduler


def fit(settings: Settings, address: str, on_progress: Callable[[], None]) -> dict[str, Any]:
    """Fit on a cluster, calling a function when a first fold is fitted; return the digests of what was published."""

    def progress(stage: str, done: int, _total: int) -> None:
        if stage == "fit retrieval" and done:
            on_progress()

    on = settings.model_copy(update={"dask_scheduler": address})
    with open_context(SUNDAY, settings=on, train_on="dask", progress=progress) as context:
        for name in FITTING[:3]:
            getattr(steps, name)(context)
        return read_file_digests(context, "fit_retrieval")


def is_published(settings: Settings) -> bool:
    with open_context(SUNDAY, settings=settings, train_on="dask") as context:
        return bool(context.store.list_keys(context.prefix("fit_retrieval")))


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_a_lost_scheduler_ends_the_step_and_another_one_makes_the_same_bytes(
    open_world: Callable[[], Settings], tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = open_world()
    with (
        start_cluster(tmp_path_factory.mktemp("dask")) as (address, scheduler),
        pytest.raises(ServiceUnavailableError, match="can be run again"),
    ):
        fit(settings, address, scheduler.kill)
    assert not is_published(settings)
    with start_cluster(tmp_path_factory.mktemp("dask")) as (address, _):
        again = fit(settings, address, lambda: None)
        assert fit(open_world(), address, lambda: None) == again


class Relay:
    """A way to a server on this machine that can be closed and opened again; a context manager."""

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        self._target = (str(there.hostname), int(there.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_open = threading.Event()
        self._is_open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self, seconds: float | None = None) -> None:
        """Cut all connections and refuse others, for ever or for some seconds."""
        self._is_open.clear()
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()
        if seconds is not None:
            threading.Timer(seconds, self._is_open.set).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self._is_open.is_set():
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._pairs.append((client, server))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with closing(sink), suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_a_bucket_that_refuses_for_a_while_changes_no_byte_and_one_that_is_gone_ends_the_step(
    open_world: Callable[[], Settings], tmp_path: Path
) -> None:
    with start_cluster(tmp_path) as (address, _):
        undisturbed = fit(open_world(), address, lambda: None)
        for seconds in (3.0, None):
            settings = open_world()
            with Relay(str(settings.s3_endpoint_url)) as relay:
                through = settings.model_copy(update={"s3_endpoint_url": HttpUrl(relay.url)})
                n_cuts = 0

                def cut(seconds: float | None = seconds, relay: Relay = relay) -> None:
                    nonlocal n_cuts
                    n_cuts += 1
                    if n_cuts == 1:
                        relay.close(seconds)

                if seconds is None:
                    with pytest.raises(RecsysError):
                        fit(through, address, cut)
                else:
                    assert fit(through, address, cut) == undisturbed
                assert n_cuts
            # By the direct way again.
            assert is_published(settings) == (seconds is not None)
            assert fit(settings, address, lambda: None) == undisturbed
