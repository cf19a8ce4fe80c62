"""`otaku keys`: manage API keys in the database, which the service reads if OTAKU_API_KEYS contains `database`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(help="Manage API keys; the service picks up changes within seconds.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the client.")]


@contextmanager
def _open() -> Iterator["Connection"]:
    """Open a transaction on the database of the running platform."""
    from otaku.console import running_settings
    from recsys.connections import open_engine

    with open_engine(running_settings()) as engine, engine.begin() as connection:
        yield connection


@app.command("create")
def create_key(
    name: Name,
    scope: Annotated[list[str] | None, typer.Option(help="recommend, write, metrics, admin; can be repeated.")] = None,
    limit: Annotated[str | None, typer.Option(help="Rate limit, such as 600/minute.")] = None,
) -> None:
    """Create a key and print it once; only its digest is stored."""
    from app.guard.limits import parse_rate_limit
    from recsys.storage.api_keys import create_api_key

    if limit is not None:
        parse_rate_limit(limit)
    with _open() as connection:
        typer.echo(create_api_key(connection, name, scope or ["recommend"], limit))


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """List the API keys by name and digest; the keys themselves are stored nowhere."""
    from rich.markup import escape
    from rich.table import Table

    from otaku.console import console
    from recsys.storage.api_keys import read_api_keys

    with _open() as connection:
        keys = read_api_keys(connection)
    if as_json:
        typer.echo(json.dumps([asdict(key) for key in keys], indent=2))
        return
    if not keys:
        console.print("There is no key yet; `otaku keys create NAME` makes one.")
        return
    table = Table("name", "scopes", "limit", "digest")
    for key in keys:
        table.add_row(escape(key.name), ", ".join(key.scopes), key.rate_limit or "", key.digest[:12])
    console.print(table)


@app.command("revoke")
def revoke_keys(name: Name) -> None:
    """Revoke all keys of a name."""
    from recsys.exceptions import ConfigurationError
    from recsys.storage.api_keys import read_api_keys, revoke_api_keys

    with _open() as connection:
        n_revoked = revoke_api_keys(connection, name)
        known = sorted({key.name for key in read_api_keys(connection)})
    if not n_revoked:
        there_are = f"keys of: {', '.join(known)}" if known else "none"
        raise ConfigurationError(f"no key is named {name!r}; there are {there_are}")
    typer.echo(f"{n_revoked} key{'s' if n_revoked != 1 else ''} of {name!r} revoked.")
