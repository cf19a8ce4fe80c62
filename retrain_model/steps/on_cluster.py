"""Steps on a Dask cluster: the ratings of the snapshot of the run lie in the bucket by shares of the users."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recsys.cpus import count_cpus
from recsys.settings import Settings
from recsys.storage.snapshots import Snapshot
from retrain_model.context import RetrainContext

if TYPE_CHECKING:
    from recsys.distributed.partitions import Partitions

PLACE = "partitions"


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
    with open_cluster(settings.dask_scheduler, n_workers=count_cpus()) as client:
        yield client, write_partitions(frozen.interactions, frozen.catalog, context.store.uri(place), settings)
    context.store.delete_prefix(f"{place}/")
