"""Frozen copies of the tables in S3, named by the digest of what they hold.

The digest is computed over the content itself (sorted rows, fixed spelling), not over Parquet bytes: equal tables
give equal digests whatever the order of their rows or the version of the library that writes the files.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from sqlalchemy import Engine

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.watch_statuses import WatchStatuses
from recsys.evaluation.evaluation_set import EvaluationData
from recsys.exceptions import ArtifactError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_catalog, read_ratings, read_users
from recsys.storage.watch_statuses import read_watch_statuses

PREFIX: Final = "snapshots"
# Part of every digest: raise it when the columns or their spelling change.
_CONTENT_VERSION = b"otaku snapshot 1\n"
_ITEMS = "items.parquet"
_RATINGS = "ratings.parquet"
_USERS = "users.parquet"
_STATUSES = "watch_statuses.parquet"

_ITEM_SCHEMA = pa.schema(
    [pa.field(Columns.Item, pa.int64())]
    + [pa.field(name, pa.string()) for name in ItemColumns.Texts]
    + [pa.field(name, pa.list_(pa.string())) for name in ItemColumns.Lists]
    + [pa.field(name, pa.date32()) for name in ItemColumns.Dates]
    + [pa.field(name, pa.float64()) for name in ItemColumns.Numericals]
)
_RATING_SCHEMA = pa.schema([(Columns.User, pa.int64()), (Columns.Item, pa.int64()), (Columns.Rating, pa.int8())])
_USER_SCHEMA = pa.schema([(Columns.User, pa.int64()), (Columns.ArrivedOn, pa.date32())])
_STATUS_SCHEMA = pa.schema(
    [(Columns.User, pa.int64()), (Columns.Item, pa.int64()), (Columns.Status, pa.dictionary(pa.int8(), pa.string()))]
)


@dataclass(frozen=True)
class Snapshot:
    """Items, ratings, users and statuses as they stood.

    Parameters
    ----------
    users
        `user_id` and `arrived_on` (None: there from the start).
    statuses
        What is known of list entries besides ratings; empty in snapshots from before there were any.
    """

    catalog: Catalog
    interactions: Interactions
    users: pd.DataFrame
    digest: str
    statuses: WatchStatuses = field(default_factory=WatchStatuses)

    def to_evaluation_data(self) -> EvaluationData:
        """Return what an evaluation reads of it."""
        arrived = self.users[Columns.User][self.users[Columns.ArrivedOn].notna()]
        return EvaluationData(self.catalog, self.interactions, np.sort(arrived.to_numpy(dtype=np.int64)), self.digest)


def write_snapshot(engine: Engine, store: ArtifactStore, as_of: date | None, *, prefix: str = PREFIX) -> str:
    """Freeze the tables as of a day and return the URI; equal tables are stored once.

    Parameters
    ----------
    engine
        Read in one transaction, so that the tables fit together.
    store
        Where the snapshot goes.
    as_of
        Users who arrived later, and their ratings and statuses, are left out; None keeps everyone.
    prefix
        Where it goes unless equal tables are frozen below `PREFIX` already.

    Raises
    ------
    NothingIngestedError
        If there is no item yet.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        catalog = read_catalog(connection)
        interactions = read_ratings(connection, as_of)
        users = read_users(connection, as_of)
        statuses = read_watch_statuses(connection, as_of)
    digest = compute_snapshot_digest(catalog, interactions, users, statuses)
    for place in (f"{PREFIX}/{digest}", f"{prefix}/{digest}"):
        if _is_published(store, place):
            return store.uri(f"{place}/")
    with tempfile.TemporaryDirectory(prefix="snapshot-") as directory:
        _write_tables(Path(directory), catalog, interactions, users, statuses)
        return store.write_directory(f"{prefix}/{digest}", Path(directory))


def read_snapshot(store: ArtifactStore, uri: str) -> Snapshot:
    """Read a snapshot and check that it holds what its name says.

    Raises
    ------
    ArtifactError
        If it is missing, truncated or altered, or is no snapshot.
    """
    prefix = store.key(uri).rstrip("/")
    with tempfile.TemporaryDirectory(prefix="snapshot-") as directory:
        store.read_directory(prefix, Path(directory))
        try:
            catalog = Catalog(_read_items(Path(directory) / _ITEMS))
            interactions = Interactions(pyarrow.parquet.read_table(Path(directory) / _RATINGS).to_pandas())
            users = _read_users(Path(directory) / _USERS)
            statuses = _read_statuses(Path(directory) / _STATUSES)
        except (OSError, pa.ArrowException) as error:
            raise ArtifactError(f"{uri} is no snapshot: {error}") from error
    digest = compute_snapshot_digest(catalog, interactions, users, statuses)
    expected = prefix.rpartition("/")[2]
    if digest != expected:
        raise ArtifactError(f"{uri} holds the content {digest[:12]}, not {expected[:12]}; write the snapshot again")
    return Snapshot(catalog, interactions, users, digest, statuses)


def compute_snapshot_digest(
    catalog: Catalog, interactions: Interactions, users: pd.DataFrame, statuses: WatchStatuses | None = None
) -> str:
    """Compute the SHA-256 of items, ratings, users and statuses, independent of the order of their rows.

    Without statuses it is the digest of the three other tables, as in snapshots from before there were any.
    """
    hasher = hashlib.sha256(_CONTENT_VERSION)
    for row in _list_items(catalog):
        hasher.update(json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str).encode() + b"\n")
    rated = interactions.table
    _hash_columns(hasher, {"<i8": rated[Columns.UserItem], "<i1": rated[[Columns.Rating]]})
    ordered = users.sort_values(Columns.User)
    for user_id, arrived_on in zip(ordered[Columns.User].tolist(), ordered[Columns.ArrivedOn], strict=True):
        hasher.update(f"{user_id},{arrived_on or ''}\n".encode())
    if statuses is not None and len(statuses):
        hasher.update(b"statuses\n")
        table = statuses.table
        _hash_columns(hasher, {"<i8": table[Columns.UserItem], "<i1": table[Columns.Status].cat.codes.to_frame()})
    return hasher.hexdigest()


def _hash_columns(hasher: Any, tables: Mapping[str, pd.DataFrame]) -> None:
    """Add columns in a fixed spelling; the length in front keeps one column from running into the next."""
    for kind, table in tables.items():
        for name in table.columns:
            values = table[name].to_numpy().astype(kind)
            hasher.update(len(values).to_bytes(8, "little") + values.tobytes())


def _list_items(catalog: Catalog) -> list[list[Any]]:
    """List the items as plain values in the order of `ItemColumns.All`; missing numbers become None."""
    numbers = catalog.items[ItemColumns.Numericals].astype(object)
    table = catalog.items.assign(**numbers.where(numbers.notna(), None))
    return list(map(list, zip(*(table[name].tolist() for name in ItemColumns.All), strict=True)))


def _is_published(store: ArtifactStore, place: str) -> bool:
    if not store.exists(f"{place}/manifest.json"):
        return False
    try:
        read_snapshot(store, store.uri(f"{place}/"))
    except ArtifactError:
        # Something damaged it since: writing again repairs it.
        return False
    return True


def _write_tables(
    directory: Path, catalog: Catalog, interactions: Interactions, users: pd.DataFrame, statuses: WatchStatuses
) -> None:
    ordered = users.sort_values(Columns.User)
    for name, table, schema in (
        (_ITEMS, catalog.items, _ITEM_SCHEMA),
        (_RATINGS, interactions.table, _RATING_SCHEMA),
        (_USERS, ordered, _USER_SCHEMA),
        (_STATUSES, statuses.table, _STATUS_SCHEMA),
    ):
        rows = pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
        pyarrow.parquet.write_table(rows, directory / name, compression="zstd")


def _read_statuses(path: Path) -> WatchStatuses:
    return WatchStatuses(pyarrow.parquet.read_table(path).to_pandas()) if path.exists() else WatchStatuses()


def _read_items(path: Path) -> pd.DataFrame:
    items = pd.DataFrame(pyarrow.parquet.read_table(path, schema=_ITEM_SCHEMA).to_pydict(), columns=ItemColumns.All)
    return items.astype(dict.fromkeys(ItemColumns.Numericals, np.float64))


def _read_users(path: Path) -> pd.DataFrame:
    users = pyarrow.parquet.read_table(path, schema=_USER_SCHEMA).to_pydict()
    return pd.DataFrame(
        {
            Columns.User: np.array(users[Columns.User], dtype=np.int64),
            Columns.ArrivedOn: pd.Series(users[Columns.ArrivedOn], dtype=object),
        }
    )
