"""Which snapshots there are, which runs froze them, how two differ, and a snapshot as files again."""

import json
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.reading import read_source
from recsys.data.sources.writing import write_files
from recsys.data.watch_statuses import WatchStatuses
from recsys.exceptions import ArtifactError
from recsys.storage.artifacts import MANIFEST, ArtifactStore
from recsys.storage.snapshots import PREFIX, Snapshot, compute_snapshot_digest, read_snapshot

SHORT_DIGEST: Final = 12
_MIN_DIGITS: Final = 4
# What a retraining freezes first names the snapshot that it learns from.
_POINTER: Final = re.compile(r"retrain/(?P<run_key>.+)/snapshot/snapshot\.json")


@dataclass(frozen=True)
class SnapshotEntry:
    """A snapshot in the store: bytes, when it was written (UTC), and the keys of the retrainings that froze it."""

    digest: str
    written_at: datetime
    size: int
    run_keys: tuple[str, ...]


@dataclass(frozen=True)
class TableDifference:
    """How a table of one snapshot became that of another, as keys in ascending order.

    A key is an item id, a user id or a pair of both. `columns` counts the changed rows by column, where there are
    several.
    """

    added: Sequence[Any]
    removed: Sequence[Any]
    changed: Sequence[Any]
    columns: Mapping[str, int]


def list_snapshots(store: ArtifactStore) -> list[SnapshotEntry]:
    """List the snapshots that are whole, newest first; none is read."""
    by_digest = defaultdict(list)
    for stored in store.list_objects(f"{PREFIX}/"):
        by_digest[stored.key.split("/")[1]].append(stored)
    runs = _find_runs(store)
    entries = []
    for digest, objects in by_digest.items():
        manifest = next((stored for stored in objects if stored.key.endswith(f"/{MANIFEST}")), None)
        if manifest is not None:
            size = sum(stored.size for stored in objects)
            entries.append(SnapshotEntry(digest, manifest.written_at, size, tuple(sorted(runs[digest]))))
    return sorted(entries, key=lambda entry: (entry.written_at, entry.digest), reverse=True)


def _find_runs(store: ArtifactStore) -> defaultdict[str, list[str]]:
    runs = defaultdict(list)
    for key in store.list_keys("retrain/"):
        if found := _POINTER.fullmatch(key):
            uri = str(json.loads(store.read_bytes(key))["uri"])
            runs[uri.rstrip("/").rpartition("/")[2]].append(found["run_key"])
    return runs


def find_snapshot(store: ArtifactStore, name: str) -> SnapshotEntry:
    """Find a snapshot by the first digits of its digest, or by the key of a retraining that froze it.

    Raises
    ------
    ArtifactError
        If there is none, or several.
    """
    entries = list_snapshots(store)
    by_run = [entry for entry in entries if name in entry.run_keys]
    by_digest = [entry for entry in entries if len(name) >= _MIN_DIGITS and entry.digest.startswith(name.lower())]
    found = by_run or by_digest
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(entry.digest[: len(name) + 4] for entry in found)
        raise ArtifactError(f"{name!r} begins the digests of {len(found)} snapshots ({several}); give more digits")
    raise ArtifactError(
        f"there is no snapshot {name!r}; `otaku snapshots list` names those that there are. A snapshot is found by "
        f"{_MIN_DIGITS} digits of its digest or more, or by the key of a retraining"
    )


def load_entry(store: ArtifactStore, entry: SnapshotEntry) -> Snapshot:
    """Read a listed snapshot and check its digest; see `read_snapshot`."""
    return read_snapshot(store, store.uri(f"{PREFIX}/{entry.digest}/"))


def compare_snapshots(before: Snapshot, after: Snapshot) -> dict[str, TableDifference]:
    """Compare two snapshots table by table: `items`, `users`, `ratings` and `watch_statuses`."""
    return {
        "items": _compare(before.catalog.items, after.catalog.items, [Columns.Item]),
        "users": _compare(before.users, after.users, [Columns.User]),
        "ratings": _compare(before.interactions.table, after.interactions.table, Columns.UserItem),
        "watch_statuses": _compare(before.statuses.table, after.statuses.table, Columns.UserItem),
    }


def _compare(before: pd.DataFrame, after: pd.DataFrame, keys: list[str]) -> TableDifference:
    old, new = (_comparable(table).set_index(keys).sort_index() for table in (before, after))
    common = old.index.intersection(new.index, sort=True)
    both_old, both_new = old.loc[common], new.loc[common]
    differs = ~((both_old == both_new) | (both_old.isna() & both_new.isna()))
    columns = {str(name): int(n) for name, n in differs.sum().items() if n}
    return TableDifference(
        added=new.index.difference(old.index).tolist(),
        removed=old.index.difference(new.index).tolist(),
        changed=common[differs.any(axis=1).to_numpy(dtype=bool)].tolist(),
        columns=columns if len(old.columns) > 1 else {},
    )


def _comparable(table: pd.DataFrame) -> pd.DataFrame:
    """Turn what `==` would compare by identity or refuse into plain values."""
    plain = {name: table[name].map(tuple) for name in ItemColumns.Lists if name in table}
    if Columns.Status in table:
        plain[Columns.Status] = table[Columns.Status].astype(object)
    return table.assign(**plain)


def restore_snapshot(snapshot: Snapshot, directory: Path) -> tuple[Path, ...]:
    """Write a snapshot as files that `otaku ingest` and `otaku evaluate --data` read, and read them back to check.

    The days on which users arrived stand in `users.csv`, which no layout reads: ingested
    users are there from the start.

    Parameters
    ----------
    directory
        A folder that does not exist yet or is empty.

    Returns
    -------
    The files.

    Raises
    ------
    ArtifactError
        If the folder holds something, cannot be written, or reading it would not give the snapshot again; then there
        is no folder.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ArtifactError(f"{directory} is there and not empty; choose a new folder")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise ArtifactError(f"{directory} cannot be written: {error.strerror}; choose another folder") from error
    try:
        write_files(draft, snapshot.catalog, snapshot.interactions, snapshot.statuses)
        snapshot.users.to_csv(draft / "users.csv", index=False, lineterminator="\n")
        _check_restored(draft, snapshot)
        draft.chmod(0o755)
        draft.replace(directory)
    except OSError as error:
        raise ArtifactError(f"{directory} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return tuple(sorted(directory.iterdir()))


def _check_restored(directory: Path, snapshot: Snapshot) -> None:
    source = read_source(directory)
    digest = compute_snapshot_digest(
        Catalog(source.items), Interactions(source.ratings), snapshot.users, WatchStatuses(source.statuses)
    )
    if digest != snapshot.digest:
        raise ArtifactError(
            f"the files of snapshot {snapshot.digest[:SHORT_DIGEST]} do not read back as what it holds; nothing is "
            "restored. Its tables stand unharmed in the store"
        )
