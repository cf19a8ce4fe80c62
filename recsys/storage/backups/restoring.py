"""Bring the platform back to a backup."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text

from recsys.exceptions import ArtifactError, ConfigurationError
from recsys.storage.backups.manifest import REGISTRY_DUMP, TABLES_DUMP, Manifest, check_file, read_manifest
from recsys.storage.backups.pg_tools import run_tool
from recsys.storage.backups.sources import REGISTRY_SCHEMA, Sources, count_rows, url_of
from recsys.storage.backups.targets import BACKUPS, Target, list_backups, object_name
from recsys.storage.migration import grant_roles, migrate
from recsys.storage.promotion import complete_all
from recsys.storage.registry.backend import list_backend_tables, upgrade_backend
from recsys.storage.schema_state import list_migrations
from recsys.storage.tables import SCHEMA

logger = logging.getLogger(__name__)

OnCopied = Callable[[int, int], None]
N_COPIES: Final = 8
# What stands while a restore runs lies under these names until the restored rows were counted.
_ASIDE: Final = "_replaced"
_OPTIONS: Final = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")


def restore(
    sources: Sources,
    target: Target,
    name: str | None = None,
    *,
    replace: bool = False,
    on_copied: OnCopied = lambda _done, _total: None,
) -> Manifest:
    """Fill S3, the registry and PostgreSQL from a backup and migrate the tables; killed, it can run again.

    The tables that stood are deleted only after the rows of the restored ones were counted; an error before that brings
    them back. Objects in the bucket that the backup does not name stay. The service and the jobs have to be stopped
    meanwhile; MLflow has to run.

    Parameters
    ----------
    name
        Which backup; the newest by default.
    replace
        Whether tables that hold rows may be replaced.

    Raises
    ------
    ArtifactError
        If there is no such backup, or a part of it is missing or altered.
    ConfigurationError
        If the backup belongs to another bucket or a newer release, or rows would be lost without `replace`.
    """
    names = list_backups(target)
    if not names:
        raise ArtifactError("there is no backup at this place; `otaku backup PLACE` makes one")
    manifest = read_manifest(target, name or names[-1])
    _check_fit(sources, manifest)
    for engine, schema in _list_databases(sources):
        _bring_back(engine, schema)
    _check_replaced(sources, manifest, replace=replace)
    with tempfile.TemporaryDirectory(prefix="otaku-restore-") as scratch:
        folder = Path(scratch)
        for file, expected in manifest.dumps.items():
            check_file(file, expected, *target.fetch(f"{BACKUPS}/{manifest.name}/{Path(file).name}", folder / file))
        _restore_objects(sources, target, manifest, folder, on_copied)
        registry, tables = sources.registry_engine, sources.engine
        with (
            _replaced(registry, REGISTRY_SCHEMA, folder / REGISTRY_DUMP, dict(manifest.registry_counts)),
            _replaced(tables, SCHEMA, folder / TABLES_DUMP, dict(manifest.counts)),
        ):
            upgrade_backend(registry)
            migrate(tables)
            with tables.begin() as connection:
                grant_roles(connection)
    # A promotion may have been between the ledger and the registry when the backup was made.
    production = complete_all(sources.engine, sources.registry)
    if manifest.production_version is not None and production != manifest.production_version:
        raise ArtifactError(
            f"version {production} is in Production after the restore, in the backup it was "
            f"{manifest.production_version}; is {sources.registry.tracking_uri} the server over the restored tables?"
        )
    return manifest


def _list_databases(sources: Sources) -> tuple[tuple[Engine, str], ...]:
    return (sources.registry_engine, REGISTRY_SCHEMA), (sources.engine, SCHEMA)


def _check_fit(sources: Sources, manifest: Manifest) -> None:
    newest = list_migrations()[-1][:4]
    if manifest.migration > newest:
        raise ConfigurationError(
            f"backup {manifest.name} was made by release {manifest.release} with tables of migration "
            f"{manifest.migration}, and this release knows {newest}; restore it with that release or a newer one"
        )
    if manifest.bucket != sources.store.bucket:
        raise ConfigurationError(
            f"backup {manifest.name} is one of bucket {manifest.bucket}, whose name stands in every address; "
            f"restore it with OTAKU_S3_BUCKET={manifest.bucket}"
        )


def _check_replaced(sources: Sources, manifest: Manifest, *, replace: bool) -> None:
    """Refuse to lose rows that nobody said may go, and tables that are not of MLflow."""
    with sources.registry_engine.connect() as connection:
        registry = count_rows(connection, REGISTRY_SCHEMA)
    foreign = sorted(set(registry) - set(manifest.registry_counts) - list_backend_tables())
    if foreign:
        raise ConfigurationError(
            f"the database of MLflow also holds {', '.join(foreign[:5])} in schema {REGISTRY_SCHEMA}; "
            "restore into a database that is MLflow's alone"
        )
    with sources.engine.connect() as connection:
        standing = {table: n for table, n in count_rows(connection).items() if n}
    if not replace and (standing or registry.get("model_versions")):
        held = ", ".join(f"{table} {n:,}" for table, n in list(standing.items())[:4]) or "model versions"
        raise ConfigurationError(f"the platform is not empty ({held}); --replace gives up what it holds")


@contextmanager
def _replaced(engine: Engine, schema: str, dump: Path, counts: dict[str, int]) -> Iterator[None]:
    """Restore a dump in the place of a schema; an error inside the block, too, brings back what stood."""
    with engine.begin() as connection:
        if _has_schema(connection, schema):
            connection.execute(text(f'ALTER SCHEMA "{schema}" RENAME TO "{schema}{_ASIDE}"'))
    try:
        run_tool("pg_restore", url_of(engine), (*_OPTIONS, str(dump)))
        with engine.begin() as connection:
            if schema == REGISTRY_SCHEMA:  # as PostgreSQL makes it
                connection.execute(text(f'GRANT USAGE ON SCHEMA "{schema}" TO PUBLIC'))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            found = count_rows(connection, schema)
        _check_counts(found, counts)
        yield
    except BaseException:
        _bring_back(engine, schema, always=True)
        raise
    with engine.begin() as connection:
        connection.execute(text(f'DROP SCHEMA IF EXISTS "{schema}{_ASIDE}" CASCADE'))


def _check_counts(found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    if found != expected:
        differing = sorted(table for table in {**found, **expected} if found.get(table) != expected.get(table))
        raise ArtifactError(f"the restored tables {', '.join(differing)} have other rows than the backup names")


def _bring_back(engine: Engine, schema: str, *, always: bool = False) -> None:
    """Put back what a restore without an end had put aside; `always` removes what it made even where nothing stood."""
    with engine.begin() as connection:
        stood = _has_schema(connection, f"{schema}{_ASIDE}")
        if stood or always:
            connection.execute(text(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))
        if stood:
            logger.warning("schema %s is put back as it was before an unfinished restore", schema)
            connection.execute(text(f'ALTER SCHEMA "{schema}{_ASIDE}" RENAME TO "{schema}"'))


def _has_schema(connection: Connection, schema: str) -> bool:
    found = connection.scalar(text("SELECT count(*) FROM pg_namespace WHERE nspname = :name"), {"name": schema})
    return bool(found)


def _restore_objects(sources: Sources, target: Target, manifest: Manifest, folder: Path, on_copied: OnCopied) -> None:
    """Write the objects of the backup that are missing or differ; manifests of folders last."""
    sources.store.ensure_bucket()
    standing = {stored.key: (stored.size, stored.etag) for stored in sources.store.list_objects("")}
    wanted = [
        key
        for key, entry in sorted(manifest.objects.items(), key=lambda pair: pair[0].endswith("manifest.json"))
        if not entry.etag or standing.get(key) != (entry.size, entry.etag)
    ]
    files = [key for key in wanted if not key.endswith("manifest.json")]
    restore_one = partial(_restore_object, sources, target, manifest, folder)
    done = 0
    with ThreadPoolExecutor(N_COPIES, thread_name_prefix="restore") as pool:
        for part in (files, wanted[len(files) :]):
            for _ in pool.map(restore_one, part):
                done += 1
                on_copied(done, len(wanted))


def _restore_object(sources: Sources, target: Target, manifest: Manifest, folder: Path, key: str) -> None:
    expected = manifest.objects[key]
    with tempfile.NamedTemporaryFile(dir=folder, prefix="object-") as scratch:
        path = Path(scratch.name)
        check_file(key, expected, *target.fetch(object_name(expected.sha256), path))
        sources.store.upload_file(key, path)
