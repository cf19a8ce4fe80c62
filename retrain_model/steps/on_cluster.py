"""Steps on a Dask cluster: the ratings of the snapshot of the run lie in the bucket by shares of the users."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from recsys.cpus import count_cpus
from recsys.settings import Settings
from recsys.storage.snapshots import Snapshot
from retrain_model.context import RetrainContext

if TYPE_CHECKING:
    from recsys.distributed.partitions import Partitions

PLACE: Final = "partitions"
WORKERS: Final = "workers.json"


@contextmanager
def open_partitions(
    context: RetrainContext, settings: Settings, frozen: Snapshot
) -> Iterator[tuple[Any, "Partitions"]]:
    """Write the ratings by shares of the users and connect to the cluster; the files go when the step has ended.

    Parameters
    ----------
    settings
        Of the cluster and of the bucket, which the workers are told.
    """
    from recsys.distributed.cluster import open_cluster
    from recsys.distributed.partitions import write_partitions

    place = context.prefix(PLACE)
    with open_cluster(settings.dask_scheduler, n_workers=read_workers(context) or count_cpus()) as client:
        fix_workers(context, client)
        yield client, write_partitions(frozen.interactions, frozen.catalog, context.store.uri(place), settings)
    context.store.delete_prefix(f"{place}/")


def read_workers(context: RetrainContext) -> int | None:
    """Read how many workers grow the trees of this attempt; None in one process, or before it has used the cluster."""
    if context.cluster is None:
        return None
    if context.cluster.dask_workers is not None:
        return context.cluster.dask_workers
    key = context.prefix(WORKERS)
    return int(json.loads(context.store.read_bytes(key))["workers"]) if context.store.exists(key) else None


def fix_workers(context: RetrainContext, client: Any) -> None:
    """Write down how many workers there are when the attempt first uses them: with others it would be another model."""
    from recsys.distributed.cluster import list_workers, wait_for_workers

    if read_workers(context) is None:
        wait_for_workers(client, 1)
        content = json.dumps({"workers": len(list_workers(client))})
        context.store.write_bytes(context.prefix(WORKERS), content.encode())
