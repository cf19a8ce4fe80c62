"""The Dask cluster that batch steps run on: one that a setting names, or processes of this machine."""

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, Final

from distributed import Client, KilledWorker, LocalCluster
from distributed.comm import CommClosedError

from recsys.exceptions import ConfigurationError, ServiceUnavailableError

CONNECT_SECONDS: Final = 30
RETURN_SECONDS: Final = 300.0  # that missing workers have to come in
POLL_SECONDS: Final = 0.2
# What the loss of a worker or of the scheduler ends with.
LOSSES: Final = (KilledWorker, CancelledError, CommClosedError, OSError, TimeoutError)


@contextmanager
def open_cluster(address: str | None, *, n_workers: int, memory_limit: str = "auto") -> Iterator[Client]:
    """Connect to a scheduler, or start workers on this machine that end with the block.

    Workers are processes with one thread each: a step computes with one thread per partition, so that partitions,
    not libraries, use the processors.

    Parameters
    ----------
    address
        Of a scheduler, such as `tcp://scheduler:8786`; None for workers of this machine.
    n_workers
        How many to start on this machine.
    memory_limit
        Of each of them, such as `2GiB`: a worker that goes beyond is ended, and what it did is done again.

    Raises
    ------
    ConfigurationError
        If the address has no form that Dask knows.
    ServiceUnavailableError
        If the scheduler does not answer.
    """
    if address is not None:
        with _connect(address) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory_limit,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _connect(address: str) -> Any:
    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ServiceUnavailableError(f"the Dask scheduler at {address} does not answer: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"OTAKU_DASK_SCHEDULER is {address!r}: {error}; write tcp://HOST:8786") from error


def list_workers(client: Client) -> list[str]:
    """List the addresses of the workers by their names.

    The scheduler itself is asked: what `Client.scheduler_info` returns may be the totals that the client refreshes
    every two seconds, which name no worker.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """
    workers = client.sync(_identify, client)["workers"]
    return sorted(workers, key=lambda address: (len(str(workers[address]["name"])), str(workers[address]["name"])))


async def _identify(client: Client) -> dict[str, Any]:
    if client.scheduler is None:
        raise CommClosedError("the client is not connected to a scheduler")
    return dict(await client.scheduler.identity(n_workers=-1))


def wait_for_workers(client: Client, n_workers: int) -> None:
    """Wait until so many workers are there.

    Raises
    ------
    ServiceUnavailableError
        If some are missing after five minutes.
    """
    deadline = time.monotonic() + RETURN_SECONDS
    while (found := len(list_workers(client))) < n_workers:
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(
                f"{found} of {n_workers} workers are there after {RETURN_SECONDS:.0f} s; start the others and run the "
                "step again, or set OTAKU_DASK_WORKERS to those that there are and retrain from the beginning"
            )
        time.sleep(POLL_SECONDS)


@contextmanager
def translate_losses(step: str) -> Iterator[None]:
    """Turn the loss of workers or of the scheduler into an error that says that the step can be run again.

    Raises
    ------
    ServiceUnavailableError
        If a task was lost for good; errors of the platform itself pass.
    """
    try:
        yield
    except LOSSES as error:
        reason = f"{type(error).__name__}: {error}"
        raise ServiceUnavailableError(f"{step} ended on the Dask cluster, and can be run again: {reason}") from error
