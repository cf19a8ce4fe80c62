"""Several worker processes: who ends is replaced, who is left alone ends, and one scrape sees all."""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.sockets import bind_sockets
from recsys.settings import Settings
from recsys.storage.registry import Registry
from tests.app.harness import wait_for
from tests.app.live import PATIENCE, Ledger, Load, Server, fill_database, register, run_server

pytestmark = pytest.mark.local


# `python -m app`, whose supervisor waits for ever until the old workers accept no connection any more.
PATIENT = """
import sys
import app.supervisor
app.supervisor.RELIEF_SECONDS = 1e6
from app.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def ledger(settings: Settings, registry: Registry, model_folders: dict[int, Path]) -> Ledger:
    """A ledger where version 1 is in Production."""
    fill_database(settings)
    ledger = Ledger(settings, registry)
    ledger.promote(register(registry, model_folders[1], "first"))
    return ledger


@contextmanager
def run_workers(settings: Settings, registry: Registry, program: Sequence[str] = ("-m", "app")) -> Iterator[Server]:
    several = {"OTAKU_WORKERS": "2", "OTAKU_WATCH_SECONDS": "0.2", **PATIENCE}
    ends = (0, -signal.SIGTERM, -signal.SIGKILL)
    with run_server(settings, registry.model_name, program=program, codes=ends, **several) as running:
        wait_for(lambda: running.ask("/health/ready")[0] == 200)
        yield running


@pytest.fixture
def server(settings: Settings, registry: Registry, ledger: Ledger) -> Iterator[Server]:
    """Two workers that serve version 1."""
    assert ledger.champion == 1
    with run_workers(settings, registry) as running:
        yield running


def list_workers(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def count_lines(server: Server, words: str) -> int:
    return sum(words in line for line in server.lines)


def find_line(server: Server, words: str) -> int:
    (found,) = [number for number, line in enumerate(server.lines) if words in line]
    return found


def read_metrics(server: Server) -> dict[str, dict[str, float]]:
    """Read each series of which every worker has one: name to worker to value."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(server.read_text("/metrics")):
        for sample in family.samples:
            if set(sample.labels) == {"worker"}:
                found.setdefault(sample.name, {})[sample.labels["worker"]] = sample.value
    return found


def test_a_worker_that_ends_is_replaced_and_a_scrape_tells_the_metrics_of_all(server: Server) -> None:
    victim, other = list_workers(server)

    victim.send_signal(signal.SIGKILL)
    wait_for(lambda: victim not in list_workers(server) and len(list_workers(server)) == 2)

    assert other in list_workers(server)
    assert any("ended: SIGKILL" in line for line in server.lines)
    wait_for(lambda: not server.ask("/health/ready")[1]["problems"])
    with Load(server, [{"user_input": 7}, {}], lambda *_: None, n_clients=16) as load:
        wait_for(lambda: load.n_responses > 100)
    assert set(load.statuses) == {200}
    metrics = read_metrics(server)
    assert set(metrics["process_resident_memory_bytes"]) == {"0", "1"}
    assert len(set(metrics["process_start_time_seconds"].values())) == 2
    assert set(metrics["otaku_model_version"].values()) == {server.ask("/model")[1]["version"]}
    assert sum(metrics["otaku_fallbacks_total"].values()) > 0
    assert all(polled > 0 for polled in metrics["otaku_model_last_refresh_timestamp_seconds"].values())
    # What the tables say is told once.
    assert server.read_text("/metrics").count("\notaku_pipeline_up") == 1


def test_a_worker_that_replaced_another_retires_before_the_next_version_is_served(
    settings: Settings, registry: Registry, model_folders: dict[int, Path], ledger: Ledger
) -> None:
    second = register(registry, model_folders[2], "second")
    with run_workers(settings, registry, ("-c", PATIENT)) as server:
        victim, other = list_workers(server)
        # Either of them may have answered that the service is ready.
        wait_for(lambda: count_lines(server, "startup complete") == 2)
        victim.send_signal(signal.SIGKILL)
        wait_for(lambda: len({victim, other, *list_workers(server)}) == 3)
        (replacement,) = {*list_workers(server)} - {victim, other}
        # It has told that it is ready, and nobody has listened.
        wait_for(lambda: count_lines(server, "startup complete") == 3)
        replacement.suspend()
        ledger.promote(second)
        wait_for(lambda: has_ended(other))
        replacement.resume()
        wait_for(lambda: has_ended(replacement) and server.ask("/model")[1]["version"] == second)
        retires = find_line(server, f"process {replacement.pid} retires")
        assert retires < find_line(server, f"2 workers serve version {second}")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_supervisor(server: Server, end: signal.Signals) -> None:
    workers = list_workers(server)
    folder = next(path.parent for path in map(Path, list_sockets(server)) if "otaku-workers-" in str(path))
    assert len(workers) == 2

    server.process.send_signal(end)

    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
    # Who is killed cleans nothing up.
    assert server.process.wait(60) == (0 if end == signal.SIGTERM else -end)
    assert folder.exists() == (end == signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def list_sockets(server: Server) -> list[str]:
    return [str(link.laddr) for worker in list_workers(server) for link in worker.net_connections("unix") if link.laddr]


def test_a_port_that_is_taken_is_refused_also_by_a_service_of_the_same_user() -> None:
    first = bind_sockets("127.0.0.1", 0, 2)
    port = first[0][0].getsockname()[1]
    try:
        assert {one.getsockname()[1] for several in first for one in several} == {port}
        for several in first:
            several[0].listen()
        with pytest.raises(OSError, match="in use"):
            bind_sockets("127.0.0.1", port, 2)
    finally:
        for several in first:
            several[0].close()
