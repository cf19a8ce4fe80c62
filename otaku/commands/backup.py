"""`otaku backup` and `otaku restore`: PostgreSQL, the registry and S3 as one consistent point."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recsys.settings import Settings
    from recsys.storage.artifacts import ArtifactStore
    from recsys.storage.backups import Manifest, Sources, Target

Place = Annotated[str, typer.Argument(help="Where backups lie: a folder, or s3://BUCKET/PREFIX in another bucket.")]
Endpoint = Annotated[str | None, typer.Option(help="Address of the S3 server of PLACE; default OTAKU_S3_ENDPOINT_URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")]
Keep = Annotated[int | None, typer.Option(min=1, help="Delete all but the newest N backups of PLACE afterwards.")]
Name = Annotated[str | None, typer.Option("--backup", help="Name of the backup; default the newest.")]


def backup(
    place: Place,
    keep: Keep = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show the backups of PLACE and make none.")] = False,
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Copy PostgreSQL, the registry and S3 as one consistent point; a second backup of a place copies what is new."""
    from otaku.console import console, show_progress
    from recsys.storage.backups import back_up, list_backups, prune_backups

    settings = _read_settings()
    target = _open_target(place, settings, endpoint_url)
    if only_list:
        names = list_backups(target)
        typer.echo(json.dumps(names) if as_json else "\n".join(names) or f"There is no backup at {place}.")
        return
    with _open_sources(settings) as sources, show_progress() as on_progress:
        manifest = back_up(sources, target, on_copied=partial(on_progress, "copy objects"))
    deleted = prune_backups(target, keep=keep) if keep else []
    if as_json:
        typer.echo(json.dumps({**_to_dict(manifest), "deleted": deleted}, indent=2))
        return
    console.print(f"Backup {manifest.name}: {_describe(manifest)}", soft_wrap=True)
    if deleted:
        console.print(f"Deleted: {', '.join(deleted)}.", soft_wrap=True)


def restore(
    place: Place,
    name: Name = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give up the rows and versions that are there.")] = False,
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Bring PostgreSQL, the registry and S3 back to a backup and migrate the tables.

    Stop the service and the jobs first, and let MLflow run.
    """
    from otaku.console import console, show_progress
    from recsys.storage.backups import restore as bring_back

    settings = _read_settings()
    target = _open_target(place, settings, endpoint_url)
    with _open_sources(settings) as sources, show_progress() as on_progress:
        manifest = bring_back(sources, target, name, replace=replace, on_copied=partial(on_progress, "restore objects"))
    if as_json:
        typer.echo(json.dumps(_to_dict(manifest), indent=2))
        return
    console.print(f"Restored {manifest.name}: {_describe(manifest)}", soft_wrap=True)


def _read_settings() -> "Settings":
    """Complete the settings, with the database of MLflow.

    Raises
    ------
    ConfigurationError
        If MLflow is an outside one and nothing says where it keeps its tables.
    """
    from pydantic import SecretStr

    from otaku.console import read_settings
    from otaku.platform import tracking
    from otaku.platform.environment import export_settings
    from otaku.platform.local import LocalPlatform
    from otaku.platform.state import read_credentials
    from recsys.exceptions import ConfigurationError

    given = read_settings()
    platform = LocalPlatform(given)
    settings = platform.settings()
    if settings.mlflow_database_url is None:
        if tracking.PART.is_given(given):
            raise ConfigurationError(
                "OTAKU_MLFLOW_DATABASE_URL is not set; name the database in which the MLflow of MLFLOW_TRACKING_URI "
                "keeps its tables"
            )
        credentials = read_credentials(platform.home, create=False)
        url = tracking.find_backend_url(settings.require_database_url(), credentials)
        settings = settings.model_copy(update={"mlflow_database_url": SecretStr(url)})
    export_settings(settings)
    return settings


def _open_target(place: str, settings: "Settings", endpoint_url: str | None) -> "Target":
    from recsys.storage.backups import open_target

    return open_target(place, partial(_open_bucket, settings, endpoint_url), own_bucket=settings.s3_bucket)


def _open_bucket(settings: "Settings", endpoint_url: str | None, bucket: str) -> "ArtifactStore":
    from pydantic import HttpUrl

    from recsys.connections import open_store

    endpoint = HttpUrl(endpoint_url) if endpoint_url else settings.s3_endpoint_url
    return open_store(settings.model_copy(update={"s3_bucket": bucket, "s3_endpoint_url": endpoint}))


@contextmanager
def _open_sources(settings: "Settings") -> Iterator["Sources"]:
    from recsys.connections import open_engine, open_registry, open_store
    from recsys.storage.backups import Sources

    mlflow = settings.model_copy(update={"database_url": settings.mlflow_database_url})
    with open_engine(settings) as engine, open_engine(mlflow) as registry_engine:
        yield Sources(engine, registry_engine, open_registry(settings), open_store(settings))


def _to_dict(manifest: "Manifest") -> dict[str, object]:
    return {
        "name": manifest.name,
        "release": manifest.release,
        "migration": manifest.migration,
        "production_version": manifest.production_version,
        "counts": dict(manifest.counts),
        "n_objects": len(manifest.objects),
        "n_bytes": manifest.n_bytes,
    }


def _describe(manifest: "Manifest") -> str:
    production = f"version {manifest.production_version}" if manifest.production_version else "no version"
    rows = sum(manifest.counts.values())
    return (
        f"{rows:,} rows of migration {manifest.migration}, {len(manifest.objects):,} objects, "
        f"{manifest.n_bytes / 1e6:,.1f} MB, {production} in Production."
    )
