"""Make a backup, and delete old ones."""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text

import recsys
from recsys.exceptions import ArtifactError, ConfigurationError, DataContractError
from recsys.storage.artifacts import StoredObject
from recsys.storage.backups.manifest import REGISTRY_DUMP, TABLES_DUMP, Manifest, StoredFile, read_manifest
from recsys.storage.backups.pg_tools import run_tool
from recsys.storage.backups.sources import REGISTRY_SCHEMA, Sources, count_rows, read_migration, url_of
from recsys.storage.backups.targets import BACKUPS, OBJECTS, Target, list_backups, object_name
from recsys.storage.locks import COPYING, hold_lock
from recsys.storage.promotion import LOCK
from recsys.storage.retention import DRY_RUNS
from recsys.storage.schema_state import read_schema_state
from recsys.storage.tables import SCHEMA

logger = logging.getLogger(__name__)

OnCopied = Callable[[int, int], None]
N_COPIES: Final = 8


@dataclass(frozen=True)
class _Dump:
    """The dump of a database with what was in it at that instant."""

    path: Path
    counts: dict[str, int]
    migration: str | None
    production_version: int | None = None


def back_up(
    sources: Sources,
    target: Target,
    *,
    now: datetime | None = None,
    on_copied: OnCopied = lambda _done, _total: None,
) -> Manifest:
    """Copy PostgreSQL, the registry and S3 as one consistent point; killed, it leaves nothing that counts as a backup.

    Promotions wait while both databases are dumped, and deletions of old versions until the end; all else goes on.

    Parameters
    ----------
    now
        Its time, which becomes its name.
    on_copied
        Called with objects copied, and their number in total.

    Raises
    ------
    NothingIngestedError
        If there are no tables.
    ArtifactError
        If an object disappears while it is copied.
    """
    name = f"{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    if name in list_backups(target):
        raise DataContractError(f"there is a backup {name} already; a name is a second, try again")
    state = read_schema_state(sources.engine)
    if state.applied is None:
        state.check()
    with tempfile.TemporaryDirectory(prefix="otaku-backup-") as scratch, hold_lock(sources.engine, COPYING):
        folder = Path(scratch)
        with hold_lock(sources.engine, LOCK):
            tables = _dump(sources.engine, SCHEMA, folder / TABLES_DUMP, model_name=sources.registry.model_name)
            registry = _dump(sources.registry_engine, REGISTRY_SCHEMA, folder / REGISTRY_DUMP)
            if "registered_models" not in registry.counts:
                raise ConfigurationError(
                    f"the database {sources.registry_engine.url.database} holds no table of MLflow in schema "
                    f"{REGISTRY_SCHEMA}; name the one that it uses in OTAKU_MLFLOW_DATABASE_URL"
                )
            listed = sources.store.list_objects("")
        wanted = [stored for stored in listed if not stored.key.startswith(DRY_RUNS)]
        objects = _copy_objects(sources, target, wanted, folder, on_copied)
        dumps = {dump.path.name: _put_dump(target, name, dump.path) for dump in (tables, registry)}
        manifest = Manifest(
            name=name,
            release=recsys.__version__,
            bucket=sources.store.bucket,
            model_name=sources.registry.model_name,
            migration=tables.migration or "",
            registry_migration=registry.migration,
            production_version=tables.production_version,
            counts=tables.counts,
            registry_counts=registry.counts,
            dumps=dumps,
            objects=objects,
        )
        manifest.write(target, folder)
    return manifest


def _dump(engine: Engine, schema: str, path: Path, *, model_name: str | None = None) -> _Dump:
    """Dump a schema as of the snapshot in which its rows are counted."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        # A dump may take longer than any statement should.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        migration, counts = read_migration(connection, schema), count_rows(connection, schema)
        production = _read_production(connection, model_name) if model_name is not None else None
        options = (
            f"--schema={schema}",
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            f"--snapshot={snapshot}",
            f"--file={path}",
        )
        run_tool("pg_dump", url_of(engine), options)
    return _Dump(path, counts, migration, production)


def _read_production(connection: Connection, model_name: str) -> int | None:
    """Read which version the ledger has in Production, from the tables of any release."""
    query = text(
        "SELECT challenger_version FROM otaku.decisions AS entry WHERE action IN ('promote', 'rollback') "
        "AND coalesce(to_jsonb(entry) ->> 'model_name', :name) = :name ORDER BY decision_id DESC LIMIT 1"
    )
    return connection.scalars(query, {"name": model_name}).one_or_none()


def _put_dump(target: Target, name: str, path: Path) -> StoredFile:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    target.put(f"{BACKUPS}/{name}/{path.name}", path)
    return StoredFile(digest, path.stat().st_size)


def _copy_objects(
    sources: Sources, target: Target, wanted: list[StoredObject], folder: Path, on_copied: OnCopied
) -> dict[str, StoredFile]:
    """Copy the objects whose content is not in the target yet."""
    standing = {name.rpartition("/")[2] for name in target.list_names(OBJECTS)}
    before = _find_known(target, standing)
    copied: dict[str, StoredFile] = {}
    copy = partial(_copy_object, sources, target, folder, before, standing)
    with ThreadPoolExecutor(N_COPIES, thread_name_prefix="backup") as pool:
        for done, (stored, entry) in enumerate(zip(wanted, pool.map(copy, wanted), strict=True), start=1):
            copied[stored.key] = entry
            on_copied(done, len(wanted))
    return copied


def _find_known(target: Target, standing: set[str]) -> dict[tuple[str, int, str], StoredFile]:
    """Find what the last backup knows of objects by key, size and mark: those need not be read again."""
    names = list_backups(target)
    if not names:
        return {}
    try:
        objects = read_manifest(target, names[-1]).objects
    except ArtifactError as error:
        logger.warning("all objects are read again: %s", error)
        return {}
    return {
        (key, entry.size, entry.etag): entry
        for key, entry in objects.items()
        if entry.etag and entry.sha256 in standing
    }


def _copy_object(
    sources: Sources,
    target: Target,
    folder: Path,
    before: dict[tuple[str, int, str], StoredFile],
    standing: set[str],
    stored: StoredObject,
) -> StoredFile:
    known = before.get((stored.key, stored.size, stored.etag))
    if known is not None:
        return known
    with tempfile.NamedTemporaryFile(dir=folder, prefix="object-") as scratch:
        path = Path(scratch.name)
        digest, size = sources.store.download_file(stored.key, path)
        if digest not in standing:
            target.put(object_name(digest), path)
    return StoredFile(digest, size, stored.etag)


def prune_backups(target: Target, *, keep: int) -> list[str]:
    """Delete all but the newest backups, and the objects that none of those names; returns the names of the deleted.

    Not beside a backup that is being made: its objects are named by no manifest yet.

    Raises
    ------
    DataContractError
        If none would stay.
    """
    if keep < 1:
        raise DataContractError(f"keep is {keep}; at least one backup has to stay")
    names = list_backups(target)
    leaving = names[:-keep]
    for name in leaving:
        # The manifest first: what is left behind, were this killed, counts as no backup.
        files = target.list_names(f"{BACKUPS}/{name}")
        for file in sorted(files, key=lambda file: not file.endswith(".json")):
            target.delete(file)
    if leaving:
        _delete_objects(target, names[-keep:])
    return leaving


def _delete_objects(target: Target, names: Iterable[str]) -> None:
    needed = {entry.sha256 for name in names for entry in read_manifest(target, name).objects.values()}
    for file in target.list_names(OBJECTS):
        if file.rpartition("/")[2] not in needed:
            target.delete(file)
