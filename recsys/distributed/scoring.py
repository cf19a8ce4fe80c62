"""Lists for all users at once, partition by partition, as Parquet files and in PostgreSQL.

A partition is a share of the users by a hash of their ids. A worker that dies takes nothing with it but its present
partition, which Dask gives to another one; a partition that is computed again is the same bytes in the same place. What
was written counts once the manifest names it, which is written last.
"""

import io
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, Future, as_completed
from sqlalchemy import Engine
from threadpoolctl import threadpool_limits

from recsys.columns import Columns
from recsys.connections import open_engine, open_registry
from recsys.data.titles.names import find_adult
from recsys.distributed.partitions import RETRIES, divide_users
from recsys.distributed.places import open_place
from recsys.distributed.profiles import build_stored_profile, recommend_to_stored_users
from recsys.exceptions import ServiceUnavailableError
from recsys.progress import OnProgress, ignore_progress
from recsys.recommender import Recommendations, Recommender
from recsys.recommender.watched import predict_watched
from recsys.settings import Settings
from recsys.storage.database import read_user_ids
from recsys.storage.scored_lists import ScoredList, store_scored_lists
from recsys.storage.users import StoredUser, read_users
from recsys.types import Mask, UserId

MANIFEST: Final = "_manifest.json"  # readers of Parquet folders pass over names that begin so
PART: Final = "part-"
READ_USERS: Final = 250  # from the database at a time: what a worker holds does not grow with its partition
SCHEMA: Final = pa.schema(
    {
        Columns.User: pa.int64(),
        "rank": pa.int16(),
        Columns.Item: pa.int64(),
        "score": pa.float32(),
        "predicted_rating": pa.float32(),
    }
)


@dataclass(frozen=True)
class Scoring:
    """What every worker is told.

    Parameters
    ----------
    settings
        Of database, registry and bucket.
    place
        A folder, or `s3://BUCKET/PREFIX`.
    version
        Of the registered model.
    k
        Length of each list.
    stored
        Whether the lists are written into PostgreSQL as well.
    """

    settings: Settings
    place: str
    version: int
    k: int
    stored: bool = False


@dataclass(frozen=True)
class PartitionReport:
    """What became of a partition."""

    name: str
    n_users: int
    n_rows: int
    seconds: float


@dataclass(frozen=True)
class ScoringReport:
    """What became of all: the manifest holds the same."""

    version: int
    k: int
    n_users: int
    n_rows: int
    partitions: tuple[PartitionReport, ...]
    seconds: float
    finished_at: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def score_users(client: Client, scoring: Scoring, *, on_progress: OnProgress = ignore_progress) -> ScoringReport:
    """Write the lists of all users.

    Raises
    ------
    ServiceUnavailableError
        If the scheduler is lost, or a partition failed for good; there is no manifest then.
    """
    started = time.monotonic()
    output = open_place(scoring.settings, scoring.place)
    output.delete(MANIFEST)
    output.delete(PART)
    with open_engine(scoring.settings) as engine, engine.connect() as connection:
        partitions = divide_users(read_user_ids(connection))
    futures = [
        client.submit(score_partition, scoring, number, user_ids, pure=False, retries=RETRIES)
        for number, user_ids in enumerate(partitions)
    ]
    reports = _gather(futures, sum(map(len, partitions)), on_progress)
    report = ScoringReport(
        version=scoring.version,
        k=scoring.k,
        n_users=sum(part.n_users for part in reports),
        n_rows=sum(part.n_rows for part in reports),
        partitions=tuple(sorted(reports, key=lambda part: part.name)),
        seconds=time.monotonic() - started,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    output.write(MANIFEST, json.dumps(report.to_dict(), indent=1).encode())
    return report


def _gather(futures: list[Future], n_users: int, on_progress: OnProgress) -> list[PartitionReport]:
    """Collect the reports as partitions end."""
    reports: list[PartitionReport] = []
    on_progress("score users", 0, n_users)
    try:
        for future in as_completed(futures):
            reports.append(future.result())
            on_progress("score users", sum(report.n_users for report in reports), n_users)
    except Exception as error:
        for future in futures:
            future.cancel()
        raise ServiceUnavailableError(
            f"scoring ended after {len(reports)} of {len(futures)} partitions: {error}"
        ) from error
    return reports


def score_partition(scoring: Scoring, number: int, user_ids: Sequence[UserId]) -> PartitionReport:
    """Write the lists of some users: what a worker does."""
    started = time.monotonic()
    with threadpool_limits(1):
        recommender, allowed = _load(scoring.settings, scoring.version)
        tables = []
        with open_engine(scoring.settings) as engine, engine.connect() as connection:
            for start in range(0, len(user_ids), READ_USERS):
                users = read_users(connection, user_ids[start : start + READ_USERS])
                lists = recommend_to_stored_users(recommender, users, k=scoring.k, allowed=allowed)
                tables += [_to_table(user.user_id, found) for user, found in zip(users, lists, strict=True)]
                if scoring.stored:
                    _store(engine, scoring, recommender, users, lists)
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    name = f"{PART}{number:05d}.parquet"
    open_place(scoring.settings, scoring.place).write(name, buffer.getvalue())
    return PartitionReport(name, len(tables), len(table), time.monotonic() - started)


def _store(
    engine: Engine,
    scoring: Scoring,
    recommender: Recommender,
    users: Sequence[StoredUser],
    lists: Sequence[Recommendations],
) -> None:
    """Write lists into PostgreSQL; what a lost worker wrote is written again, to the same values."""
    rows = []
    for user, found in zip(users, lists, strict=True):
        item_ids, predictions = predict_watched(recommender, recommender.fold(build_stored_profile(recommender, user)))
        made_from = user.user_id, scoring.version, scoring.k, user.digest, scoring.settings.adult
        rows.append(
            ScoredList(*made_from, found.item_ids, found.scores, found.predicted_ratings, item_ids, predictions)
        )
    with engine.begin() as connection:
        store_scored_lists(connection, scoring.settings.model_name, rows)


def _to_table(user_id: UserId, found: Recommendations) -> pa.Table:
    n = len(found)
    columns = [np.full(n, user_id), np.arange(1, n + 1), found.item_ids, found.scores, found.predicted_ratings]
    arrays = [pa.array(column).cast(kind.type) for column, kind in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


@lru_cache(maxsize=1)
def _load(settings: Settings, version: int) -> tuple[Recommender, Mask]:
    """Load a version once for all partitions of a worker, and mark the titles that may be listed."""
    folder = Path(tempfile.mkdtemp(prefix="otaku-score-"))
    try:
        recommender = Recommender.load(open_registry(settings).download(version, folder)).accelerate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    items = recommender.catalog.items
    return recommender, np.full(len(items), fill_value=True) if settings.adult else ~find_adult(items)
