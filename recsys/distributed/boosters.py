"""One booster on the workers by LightGBM's own Dask estimators: the same bytes for the same number of workers.

Every worker holds whole query groups. Histograms are added up over the network in the order of the workers. How many
there are is given, and the stored rows are dealt out to them by number: a training waits for as many, and begins again
when one is lost. Which machine is which worker makes no difference.
"""

import logging
import re
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from distributed import Client

from recsys.distributed.cluster import LOSSES, list_workers, wait_for_workers
from recsys.distributed.partitions import Partitions
from recsys.distributed.tables import StoredTable, read_table
from recsys.exceptions import ServiceUnavailableError
from recsys.features.schema import FeatureSchema
from recsys.ranking.params import HeadParams

logger = logging.getLogger(__name__)
ATTEMPTS: Final = 3
# A worker that is replaced under its old address is away for longer than that.
POLL_SECONDS: Final = 0.5
# That a worker has to notice that another one is lost.
NOTICE_SECONDS: Final = 10.0
SOCKET_MINUTES: Final = 10  # without a word from another worker
# Of the network of one training, which a model must not depend on.
_NETWORK: Final = {"machines": "", "local_listen_port": "12400", "num_machines": "1"}


class PlacingClient(Client):  # type: ignore[misc]
    """A client that gives each of several results a worker of its own, in turn.

    LightGBM trains on rows where they lie, and adds up in the order in which it is told of the workers. Left to itself,
    the scheduler may move rows to workers that are idle, and tells of them in any order.
    """

    def __init__(self, scheduler: str, workers: Sequence[str]) -> None:
        super().__init__(scheduler, set_as_default=False)
        self._places = list(workers)

    def compute(self, collections: Any, **options: Any) -> Any:
        """Compute collections, the first of a list on the first worker."""
        compute = super().compute
        if not isinstance(collections, list):
            return compute(collections, **options)
        return [
            compute(found, **options, workers=[self._place(number)], allow_other_workers=False)
            for number, found in enumerate(collections)
        ]

    def who_has(self, futures: Any = None, **options: Any) -> Any:
        """Tell where the results of such a list are, in its order."""
        found = super().who_has(futures, **options)
        if futures is None:
            return found
        return {
            future.key: [worker for worker in found[future.key] if worker == self._place(number)]
            for number, future in enumerate(futures)
        }

    def _place(self, number: int) -> str:
        return self._places[number % len(self._places)]


@dataclass(frozen=True)
class ClusterTable:
    """Stored rows of one head.

    Parameters
    ----------
    n_workers
        That the rows are dealt out to; those without rows take no part.
    """

    client: Client
    partitions: Partitions
    parts: tuple[StoredTable, ...]
    head: str
    n_workers: int


def grow_booster(params: HeadParams, schema: FeatureSchema, train: ClusterTable, *, seed: int) -> lgb.Booster:
    """Grow all trees, from the beginning again when a worker was lost.

    Raises
    ------
    ServiceUnavailableError
        If there are fewer workers than the rows are for, or they were lost again and again.
    """
    for attempt in range(1, ATTEMPTS + 1):
        wait_for_workers(train.client, train.n_workers)
        workers = list_workers(train.client)[: min(train.n_workers, len(train.parts))]
        try:
            return _grow(params, schema, train, seed, workers)
        except (lgb.basic.LightGBMError, ServiceUnavailableError, *LOSSES) as error:
            if attempt == ATTEMPTS:
                raise ServiceUnavailableError(f"LightGBM lost its workers {ATTEMPTS} times: {error}") from error
            logger.warning("the %s head is trained again: %s", train.head, error)
            _restart_waiting(train.client, workers)
    raise AssertionError


def _grow(
    params: HeadParams, schema: FeatureSchema, train: ClusterTable, seed: int, workers: Sequence[str]
) -> lgb.Booster:
    """Grow all trees, by a client of its own, which is closed to end what waits for a lost worker."""
    with PlacingClient(train.client.scheduler.address, workers) as own, ThreadPoolExecutor(1) as pool:
        training = pool.submit(_fit, own, params, schema, train, seed, workers)
        while True:
            ended = wait([training], POLL_SECONDS).done
            error = training.exception() if ended else None
            if ended and error is None:
                return training.result()
            if lost := _find_lost(train.client, workers):
                own.close()
                raise ServiceUnavailableError(f"{lost} was lost") from error
            if error is not None:
                raise error


def _find_lost(client: Client, workers: Sequence[str]) -> str:
    """Name the workers that are no longer there, or the scheduler; empty if there is nothing to name."""
    try:
        return ", ".join(sorted(set(workers) - set(list_workers(client))))
    except OSError:
        return "the scheduler"


def _restart_waiting(client: Client, workers: Sequence[str]) -> None:
    """Restart workers that are still training: LightGBM may wait for a lost one without end, and heeds no one."""
    deadline = time.monotonic() + NOTICE_SECONDS
    while True:
        left = [worker for worker in workers if worker in list_workers(client)]
        training = client.run(is_training, workers=left, on_error="ignore") if left else {}
        waiting = [worker for worker, is_waiting in training.items() if is_waiting]
        if not waiting:
            return
        if time.monotonic() > deadline:
            logger.warning("%s waited for a worker that was lost, and are restarted", ", ".join(waiting))
            client.restart_workers(waiting, raise_for_error=False)
            return
        time.sleep(POLL_SECONDS)


def is_training(dask_worker: Any) -> bool:
    """Tell whether a worker is in a training, also one that was given up."""
    return any("_train_part" in str(task.key) for task in dask_worker.state.executing)


def _fit(
    client: Client, params: HeadParams, schema: FeatureSchema, train: ClusterTable, seed: int, workers: Sequence[str]
) -> lgb.Booster:
    from dask import array

    da: Any = array

    columns: dict[str, list[Any]] = {"features": [], "labels": [], "group_sizes": []}
    for number, part in enumerate(train.parts):
        where = {"workers": [workers[number % len(workers)]], "allow_other_workers": False, "pure": False}
        table = client.submit(read_table, train.partitions, part.name, train.head, **where)
        n_rows = part.n_rows[train.head]
        shapes = {"features": (n_rows, len(schema.names)), "labels": (n_rows,), "group_sizes": (part.n_groups,)}
        for name, found in columns.items():
            if name != "group_sizes" or train.head == "relevance":
                values = client.submit(getattr, table, name, **where)
                dtype = np.int64 if name == "group_sizes" else np.float32
                found.append(da.from_delayed(values, shape=shapes[name], dtype=dtype))
    settings = params.to_lightgbm(seed=seed, n_threads=1) | {"time_out": SOCKET_MINUTES}
    del settings["num_threads"]
    kinds = {"lambdarank": lgb.DaskLGBMRanker, "binary": lgb.DaskLGBMClassifier}
    estimator = kinds.get(params.objective, lgb.DaskLGBMRegressor)(
        client=client, n_estimators=params.n_estimators, **settings
    )
    groups = {"group": da.concatenate(columns["group_sizes"])} if params.objective == "lambdarank" else {}
    features, labels = da.concatenate(columns["features"]), da.concatenate(columns["labels"])
    with warnings.catch_warnings():
        # A default of its own that it does not use: workers have as many threads as Dask gives them.
        warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")
        estimator.fit(features, labels, feature_name=list(schema.names), **groups)
    return lgb.Booster(model_str=_forget_network(estimator.booster_.model_to_string(num_iteration=-1)))


def _forget_network(text: str) -> str:
    for name, value in _NETWORK.items():
        text = re.sub(rf"^\[{name}: .*\]$", f"[{name}: {value}]", text, flags=re.MULTILINE)
    return text
