"""Users in shares by a hash of their ids, and the ratings of each share as a Parquet file that a worker reads."""

import io
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.splits import TRAIN, assign_folds, hash_ids, select_group
from recsys.distributed.places import Place, open_place
from recsys.files import read_frame
from recsys.recommender.training import N_FOLDS
from recsys.settings import Settings
from recsys.types import Ids, RatingMatrix

SALT: Final = 31  # of the hash that assigns users to partitions
USERS_PER_PARTITION: Final = 2_000
RETRIES: Final = 3  # of a task whose worker died or whose services did not answer
CATALOG: Final = "catalog.parquet"
_SCHEMA: Final = pa.schema({Columns.User: pa.int64(), Columns.Item: pa.int64(), Columns.Rating: pa.int8()})
_MAX_TITLES: Final = 10_000_000
_MAX_BYTES: Final = 1 << 33


def divide_users(user_ids: Ids) -> list[Ids]:
    """Divide users into partitions by a hash of their ids; each ascending, none empty."""
    n_partitions = max(1, -(-len(user_ids) // USERS_PER_PARTITION))
    numbers = hash_ids(user_ids, salt=SALT) % np.uint64(n_partitions)
    parts = [np.sort(user_ids[numbers == number]) for number in range(n_partitions)]
    return [part for part in parts if len(part)]


@dataclass(frozen=True)
class Partitions:
    """Ratings by shares of the users, with their catalog.

    Parameters
    ----------
    address
        A folder that all workers see, or `s3://BUCKET/PREFIX`.
    n_partitions
        How many there are, numbered from 0.
    settings
        Of the bucket; None for a folder.
    """

    address: str
    n_partitions: int
    settings: Settings | None = None

    @property
    def place(self) -> Place:
        """Where the files lie."""
        return open_place(self.settings, self.address)

    def read_ratings(self, number: int) -> Interactions:
        """Read the ratings of a share of the users.

        Raises
        ------
        ArtifactError
            If the file is missing.
        """
        content = self.place.read(_name(number))
        return Interactions(pq.read_table(io.BytesIO(content), schema=_SCHEMA).to_pandas())

    def read_training(self, number: int, without: int | None = None) -> Interactions:
        """Read the ratings of the training users of a share, but those of a fold that is left out."""
        training = select_group(self.read_ratings(number), TRAIN)
        user_ids = training.user_ids
        return (
            training if without is None else training.select_users(user_ids[assign_folds(user_ids, N_FOLDS) != without])
        )

    def read_fold(self, number: int, fold: int) -> RatingMatrix:
        """Read the ratings of the training users of one fold, CSR `(n_users, n_items)`."""
        training = self.read_training(number)
        user_ids = training.user_ids
        return training.select_users(user_ids[assign_folds(user_ids, N_FOLDS) == fold]).to_matrix(self.read_catalog())

    def read_catalog(self) -> Catalog:
        """Read the catalog, once in a process."""
        return _read_catalog(self)


def write_partitions(
    interactions: Interactions, catalog: Catalog, address: str, settings: Settings | None = None
) -> Partitions:
    """Write the ratings of all users by shares, in the place of what was there."""
    place, table = open_place(settings, address), interactions.table
    place.delete("ratings/")
    numbers = np.empty(len(table), dtype=np.int64)
    shares = divide_users(interactions.user_ids)
    for number, user_ids in enumerate(shares):
        numbers[table[Columns.User].isin(user_ids).to_numpy()] = number
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(shares)))
    for number, end in enumerate(ends.tolist()):
        rows = table.iloc[order[end - int(np.count_nonzero(numbers == number)) : end]]
        place.write(_name(number), _to_parquet(rows, _SCHEMA))
    place.write(CATALOG, _to_parquet(catalog.items, None))
    return Partitions(address, len(shares), settings)


def _to_parquet(frame: pd.DataFrame, schema: pa.Schema | None) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


def _name(number: int) -> str:
    return f"ratings/part-{number:05d}.parquet"


@lru_cache(maxsize=1)
def _read_catalog(partitions: Partitions) -> Catalog:
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        path = Path(folder) / CATALOG
        path.write_bytes(partitions.place.read(CATALOG))
        return Catalog(read_frame(path, max_rows=_MAX_TITLES, max_bytes=_MAX_BYTES))
