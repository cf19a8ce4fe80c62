"""Boosters on workers: the same bytes for the same number of workers, whoever is late, lost or idle."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from dask import delayed
from distributed import Client, LocalCluster, wait

from recsys.distributed import boosters, cluster
from recsys.distributed.boosters import ClusterTable, PlacingClient, grow_booster, is_training
from recsys.distributed.cluster import list_workers, open_cluster
from recsys.distributed.partitions import Partitions
from recsys.distributed.tables import StoredTable
from recsys.exceptions import ServiceUnavailableError
from recsys.features.schema import FeatureSchema
from recsys.ranking.params import HeadParams

SCHEMA = FeatureSchema({"plain": tuple(f"feature_{number}" for number in range(8))})
N_PARTS = 5
RANKER = HeadParams("lambdarank", n_estimators=4, learning_rate=0.1, num_leaves=7)


@contextmanager
def open_threads(n_workers: int = 2) -> Iterator[tuple[LocalCluster, Client]]:
    workers = LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )
    with workers as started, Client(started) as client:
        yield started, client


def write_rows(folder: Path, n_groups: int) -> tuple[StoredTable, ...]:
    """Write the rows of both heads, in groups of 20."""
    rng, n_rows = np.random.default_rng(0), 20 * n_groups
    parts = []
    (folder / "tables").mkdir()
    for number in range(N_PARTS):
        features = rng.normal(size=(n_rows, len(SCHEMA.names))).astype(np.float32)
        noisy = features[:, 0] + rng.normal(size=n_rows)
        buffer = io.BytesIO()
        np.savez(
            buffer,
            relevance_features=features,
            relevance_labels=(noisy > 1).astype(np.float32),
            relevance_sizes=np.full(n_groups, 20),
            rating_features=features,
            rating_labels=noisy.astype(np.float32),
        )
        part = StoredTable(f"tables/{number}.npz", n_groups, {"relevance": n_rows, "rating": n_rows}, n_groups, SCHEMA)
        (folder / part.name).write_bytes(buffer.getvalue())
        parts.append(part)
    return tuple(parts)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[StoredTable, ...]:
    return write_rows(tmp_path, n_groups=30)


def grow(
    client: Client, folder: Path, parts: tuple[StoredTable, ...], n_workers: int, params: HeadParams = RANKER
) -> str:
    head = "rating" if params.objective == "regression" else "relevance"
    table = ClusterTable(client, Partitions(str(folder), len(parts)), parts, head, n_workers)
    return str(grow_booster(params, SCHEMA, table, seed=0).model_to_string())


def test_a_training_waits_for_a_worker_that_is_not_there_yet(tmp_path: Path, parts: tuple[StoredTable, ...]) -> None:
    with open_threads(2) as (_, client):
        undisturbed = grow(client, tmp_path, parts, 2)
        alone = grow(client, tmp_path, parts, 1)
    with open_threads(1) as (started, client):
        late = threading.Timer(1.0, started.scale, [2])
        late.start()
        assert grow(client, tmp_path, parts, 2) == undisturbed
        late.join()
    # Another number makes other trees, so that the number is part of what a version is made from.
    assert alone != undisturbed


def test_missing_workers_are_named(
    tmp_path: Path, parts: tuple[StoredTable, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "RETURN_SECONDS", 0.1)
    with open_threads(1) as (_, client), pytest.raises(ServiceUnavailableError, match=r"1 of 2 workers .* OTAKU_DASK"):
        grow(client, tmp_path, parts, 2)


def test_no_worker_seems_lost_while_the_client_refreshes_its_totals() -> None:
    """The client asks every two seconds for totals, which name no worker; here it does so without a pause."""
    with open_threads(2) as (_, client):
        ended = threading.Event()

        async def refresh() -> None:
            while not ended.is_set():
                await client._update_scheduler_info()

        client.loop.add_callback(refresh)
        try:
            assert {len(list_workers(client)) for _ in range(500)} == {2}
        finally:
            ended.set()


def test_workers_beyond_the_number_change_no_byte(tmp_path: Path, parts: tuple[StoredTable, ...]) -> None:
    for objective in ("lambdarank", "binary", "regression"):
        params = HeadParams(objective, n_estimators=3, learning_rate=0.1, num_leaves=7)
        with open_threads(2) as (_, client):
            expected = grow(client, tmp_path, parts, 2, params)
        with open_threads(3) as (_, client):
            assert grow(client, tmp_path, parts, 2, params) == expected
        assert "[num_machines: 1]" in expected


def test_results_lie_where_they_are_dealt_out_though_others_hold_what_they_need() -> None:
    with open_threads(2) as (_, client):
        workers = list_workers(client)
        with PlacingClient(client.scheduler.address, workers) as placing:
            needed = placing.submit(np.arange, 10, workers=workers[:1], pure=False)
            wait(needed)
            totals = placing.compute([delayed(np.add)(needed, number) for number in range(N_PARTS)])
            wait(totals)
            found = placing.who_has(totals)
        assert list(found) == [total.key for total in totals]
        assert list(found.values()) == [[workers[number % 2]] for number in range(N_PARTS)]


@pytest.mark.e2e
@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_is_killed_while_it_trains_changes_no_byte(
    tmp_path: Path, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LightGBM notices the loss or waits without end, by whether bytes were under way."""
    monkeypatch.setattr(boosters, "NOTICE_SECONDS", 5.0)
    parts = write_rows(tmp_path, n_groups=1_000)
    params = HeadParams("lambdarank", n_estimators=150, learning_rate=0.1, num_leaves=31)
    killed: list[int] = []
    with open_cluster(None, n_workers=2) as client:
        undisturbed = grow(client, tmp_path, parts, 2, params)

        def kill_in_training() -> None:
            with suppress(OSError):
                while not all(client.run(is_training).values()):
                    time.sleep(0.05)
                time.sleep(0.5)
                killed.append(client.run(os.getpid)[list_workers(client)[rank]])
                os.kill(killed[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_in_training)
        killer.start()
        assert grow(client, tmp_path, parts, 2, params) == undisturbed
        killer.join()
    assert killed
