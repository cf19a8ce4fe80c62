"""Training tables by partitions: every task describes the users of one fold in one partition and stores the rows.

A user's rows are in one file, so that query groups stay whole. What was stored is read again by whoever trains on it: a
worker that dies takes no rows with it.
"""

import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from distributed import Client
from threadpoolctl import threadpool_limits

from recsys.columns import Columns
from recsys.data.splits import VALIDATION, assign_folds, select_group
from recsys.data.users import Users, add_dropped_targets, build_users
from recsys.distributed.partitions import RETRIES, Partitions
from recsys.features.schema import FeatureSchema
from recsys.ranking.params import Preset
from recsys.ranking.ranker import HEADS, TrainingTable
from recsys.recommender.retriever import Retriever
from recsys.recommender.training import N_FOLDS, build_tables, build_training_users, subtract_offsets
from recsys.types import Mask

VALIDATION_USERS: Final = 10_000  # that stop the training: about a gigabyte of rows, held by one process
FULL: Final = "full"
TABLES: Final = "tables/"
RETRIEVERS: Final = "retrievers/"
RATED: Final = "rated/"


@dataclass(frozen=True)
class StoredTable:
    """Where the rows of some users lie, and how many there are.

    Parameters
    ----------
    n_rows, n_groups
        By head; groups of the relevance head alone.
    """

    name: str
    n_users: int
    n_rows: dict[str, int]
    n_groups: int
    schema: FeatureSchema


def store_retriever(partitions: Partitions, name: str, retriever: Retriever, rated: Mask) -> None:
    """Store a retriever, and which titles it knows ratings of, `(n_items,)`, where workers read them."""
    partitions.place.write(f"{RATED}{name}", rated.astype(np.uint8).tobytes())
    with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
        retriever.save(Path(scratch))
        for path in sorted(Path(scratch).iterdir()):
            partitions.place.write(f"{RETRIEVERS}{name}/{path.name}", path.read_bytes())


@lru_cache(maxsize=1)
def _load_retriever(partitions: Partitions, name: str, n_per_model: int) -> tuple[Retriever, Mask]:
    place, prefix = partitions.place, f"{RETRIEVERS}{name}/"
    with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
        for stored in place.list_names(prefix):
            (Path(scratch) / stored.removeprefix(prefix)).write_bytes(place.read(stored))
        retriever = Retriever.load(Path(scratch), n_per_model, standalone=False)
    rated = np.frombuffer(place.read(f"{RATED}{name}"), dtype=np.uint8).astype(np.bool_)
    return retriever, rated


def describe_users(
    client: Client, partitions: Partitions, preset: Preset, dropped: pd.DataFrame | None = None
) -> tuple[list[StoredTable], list[StoredTable]]:
    """Describe the training users by folds, and validation users; retrievers are stored as `fold-0` … and `full`.

    Parameters
    ----------
    dropped
        `user_id` and `item_id` of titles that count as dropped; None for none.
    """
    partitions.place.delete(TABLES)
    training = [
        client.submit(
            describe_fold, partitions, preset, number, fold, dropped, pure=False, retries=RETRIES, priority=-fold
        )
        for fold in range(N_FOLDS)
        for number in range(partitions.n_partitions)
    ]
    validation = [
        client.submit(describe_validation, partitions, preset, number, pure=False, retries=RETRIES, priority=-N_FOLDS)
        for number in _choose_validation(partitions)
    ]
    return [table for table in client.gather(training) if table], [
        table for table in client.gather(validation) if table
    ]


def _choose_validation(partitions: Partitions) -> Iterable[int]:
    """Yield partitions until there are validation users enough."""
    n_users = 0
    for number in range(partitions.n_partitions):
        if n_users < VALIDATION_USERS:
            n_users += len(select_group(partitions.read_ratings(number), VALIDATION).user_ids)
            yield number


def describe_fold(
    partitions: Partitions, preset: Preset, number: int, fold: int, dropped: pd.DataFrame | None
) -> StoredTable | None:
    """Describe the training users of one fold in one partition; None if there are none."""
    training = partitions.read_training(number)
    user_ids = training.user_ids
    catalog = partitions.read_catalog()
    members = training.select_users(user_ids[assign_folds(user_ids, N_FOLDS) == fold])
    if not len(members):
        return None
    users = build_training_users(members, catalog, preset.n_splits)
    if preset.dropped_rating is not None and dropped is not None:
        known = dropped[dropped[Columns.User].isin(members.user_ids)]
        users = add_dropped_targets(users, known, catalog, preset.dropped_rating)
    return _store(partitions, preset, f"fold-{fold}", number, users, preset.negative_share)


def describe_validation(partitions: Partitions, preset: Preset, number: int) -> StoredTable | None:
    """Describe the validation users of a partition; None if there are none."""
    members = select_group(partitions.read_ratings(number), VALIDATION)
    if not len(members):
        return None
    return _store(partitions, preset, FULL, number, build_users(members, partitions.read_catalog()), 1.0)


def _store(
    partitions: Partitions, preset: Preset, name: str, number: int, users: Users, negative_share: float
) -> StoredTable | None:
    if not len(users.user_ids):
        return None
    retriever, rated = _load_retriever(partitions, name, preset.n_per_model)
    with threadpool_limits(1):
        tables = build_tables([(retriever, users, rated)], preset.groups, negative_share=negative_share)
    rating, sizes = subtract_offsets(tables), tables.relevance.group_sizes
    assert sizes is not None  # noqa: S101 - of the relevance head
    arrays: dict[str, Any] = {
        "relevance_features": tables.relevance.features,
        "relevance_labels": tables.relevance.labels,
        "relevance_sizes": sizes,
        "rating_features": rating.features,
        "rating_labels": rating.labels,
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    place = f"{TABLES}{name}-{number:05d}.npz"
    partitions.place.write(place, buffer.getvalue())
    n_rows = {head: len(arrays[f"{head}_labels"]) for head in HEADS}
    return StoredTable(place, len(users.user_ids), n_rows, len(sizes), tables.schema)


def read_table(partitions: Partitions, name: str, head: str) -> TrainingTable:
    """Read the stored rows of one head; labels of the rating head are distances from what it adds its trees to."""
    with np.load(io.BytesIO(partitions.place.read(name)), allow_pickle=False) as arrays:
        sizes = arrays["relevance_sizes"] if head == "relevance" else None
        return TrainingTable(arrays[f"{head}_features"], arrays[f"{head}_labels"], sizes)


def read_tables(partitions: Partitions, parts: Sequence[StoredTable]) -> dict[str, TrainingTable]:
    """Read the stored rows of both heads, by head, in the order of the files."""
    found = {}
    for head in HEADS:
        tables = [read_table(partitions, part.name, head) for part in parts]
        sizes = [table.group_sizes for table in tables if table.group_sizes is not None]
        found[head] = TrainingTable(
            np.concatenate([table.features for table in tables]),
            np.concatenate([table.labels for table in tables]),
            np.concatenate(sizes) if sizes else None,
        )
    return found
