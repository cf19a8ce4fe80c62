"""`otaku migrate`: the tables of the database, and who may do what in them."""

import json
from typing import Annotated

import typer

app = typer.Typer(help="Look at the tables of the database and bring them up to date.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show which migrations are applied and which are missing; exit code 1 if this release cannot use the tables."""
    from otaku.console import console, running_settings
    from recsys.connections import open_engine
    from recsys.storage.schema_state import read_schema_state

    with open_engine(running_settings()) as engine:
        state = read_schema_state(engine)
    pending = state.list_pending()
    if as_json:
        report = {"applied": state.applied, "needed": state.needed, "pending": pending, "usable": state.is_usable}
        typer.echo(json.dumps(report, indent=2))
    else:
        console.print(f"Applied: {state.applied or 'none'}. Needed: {state.needed}.")
        if state.is_newer and state.is_usable:
            console.print(f"A newer release has migrated the tables; they work with code of {state.oldest_code} on.")
        for entry in pending:
            console.print(f"missing: {entry}", markup=False, soft_wrap=True)
    if not state.is_usable:
        raise typer.Exit(1)


@app.command()
def up(as_json: AsJson = False) -> None:
    """Apply the missing migrations in one transaction and renew the grants; does nothing if none is missing."""
    from otaku.console import console, running_settings
    from recsys.connections import open_engine
    from recsys.storage.migration import grant_roles, migrate

    with open_engine(running_settings()) as engine:
        applied = migrate(engine)
        with engine.begin() as connection:
            granted = grant_roles(connection)
    if as_json:
        typer.echo(json.dumps({"applied": applied, "granted": granted}, indent=2))
        return
    for entry in applied:
        console.print(f"applied: {entry}", markup=False, soft_wrap=True)
    console.print("The tables are up to date." if applied else "Nothing to apply: the tables are up to date.")
    if granted:
        console.print(f"Grants renewed for {', '.join(granted)}.")


@app.command()
def partition(
    partitions: Annotated[int, typer.Option(min=2, max=1024, help="How many, by a hash of the user.")],
) -> None:
    """Partition ratings and watch statuses by user, for hundreds of millions of rows; writers wait meanwhile."""
    from otaku.console import console, running_settings
    from recsys.connections import open_engine
    from recsys.storage.partitioning import partition_tables

    with open_engine(running_settings()) as engine:
        moved = partition_tables(engine, partitions)
    for name, n_rows in moved.items():
        console.print(f"{name}: {n_rows:,} rows in {partitions} partitions.")
    if not moved:
        console.print("Nothing to do: the tables are partitioned so already.")


@app.command()
def roles() -> None:
    """Print the SQL that creates the roles of the service, the jobs and backups, for an administrator's psql."""
    from recsys.storage.migration import read_roles_sql

    typer.echo(read_roles_sql())
