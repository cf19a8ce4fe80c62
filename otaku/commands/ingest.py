"""`otaku ingest`: files into the database and the object store."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from recsys.storage.ingest_report import IngestReport


def check_layout(name: str | None) -> str | None:
    """Refuse the name of a layout that is not registered."""
    from recsys.data.sources.detection import get_layout
    from recsys.exceptions import SourceLayoutError

    try:
        return None if name is None else get_layout(name).name
    except SourceLayoutError as error:
        raise typer.BadParameter(str(error)) from error


def list_layouts(wanted: bool) -> None:
    """Print the registered layouts and end the command."""
    from rich.table import Table

    from otaku.console import console
    from recsys.data.sources.layouts import LAYOUTS

    if not wanted:
        return
    table = Table(title="Layouts that are read", title_justify="left")
    for column in ("layout", "files", "described at"):
        table.add_column(column, overflow="fold")
    for layout in LAYOUTS.values():
        table.add_row(layout.name, ", ".join(file.name for file in layout.files), layout.reference)
    console.print(table)
    raise typer.Exit


def ingest(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY", help="Folder with the files of a layout, or a single catalog file.", exists=True
        ),
    ],
    layout: Annotated[
        str | None,
        typer.Option(
            callback=check_layout, metavar="NAME", help="Layout of the files; found by their headers without."
        ),
    ] = None,
    _layouts: Annotated[
        bool, typer.Option("--layouts", callback=list_layouts, is_eager=True, help="List the layouts and exit.")
    ] = False,
    hold_back: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of the users kept back, to arrive later.")
    ] = 0.3,
    first_day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="When the first users who are kept back arrive; counts at the first ingest. [default: today]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would be read and changed; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Load anime and ratings; bad rows are quarantined with their reason. The same files again change nothing.

    Files are .csv, .csv.gz or .parquet. A catalog may come alone, as that of a new season does: its titles are added or
    changed then.
    """
    from otaku.console import console, running_settings, show_progress
    from otaku.outlook import choose_first_day, describe_next
    from otaku.platform import airflow
    from recsys.connections import open_engine, open_store
    from recsys.storage.ingestion import ingest_directory
    from recsys.storage.migration import migrate

    settings, now = running_settings(), datetime.now(UTC)
    store = open_store(settings)
    with open_engine(settings) as engine, show_progress() as on_progress:
        if not dry_run:
            store.ensure_bucket()
            migrate(engine)
        report = ingest_directory(
            source,
            engine,
            store,
            hold_back=hold_back,
            layout=layout,
            partial=True,
            first_day=first_day.date() if first_day else choose_first_day(now),
            dry_run=dry_run,
            on_progress=on_progress,
        )
        outlook = "" if dry_run else describe_next(engine, now, has_airflow=airflow.is_there(settings))
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        console.print(build_file_table(report))
        console.print(describe(report), soft_wrap=True)
        console.print(outlook, soft_wrap=True, markup=False, end="\n" if outlook else "")


def build_file_table(report: "IngestReport") -> "Table":
    """Lay the files out: rows in, ingested, quarantined, with the reasons."""
    from rich.table import Table

    table = Table(title=f"Files in the {report.layout} layout", title_justify="left")
    table.add_column("file", no_wrap=True)
    for column in ("rows", "ingested", "unrated", "quarantined"):
        table.add_column(column, justify="right")
    table.add_column("reasons")
    for file in report.files:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in file.quarantined.items())
        counts = (file.rows, file.ingested, file.unrated, sum(file.quarantined.values()))
        table.add_row(file.name, *(f"{count:,}" for count in counts), reasons)
    return table


def describe(report: "IngestReport") -> str:
    """Say in a few lines what an ingest did, or would do."""
    changed = ", ".join(f"{table} {count:,}" for table, count in report.written.items() if count)
    lines = [
        f"{report.n_items:,} anime; {report.n_users_known:,} users known, {report.n_users_held_back:,} held back.",
        *_describe_files(report),
    ]
    if report.dry_run:
        return "\n".join([*lines, f"Dry run: nothing was written. Rows to change: {changed or 'none'}."])
    snapshot = f"Snapshot {report.snapshot_uri}, after {report.seconds:.1f} s."
    return "\n".join([*lines, f"Changed rows: {changed or 'none'}.", snapshot])


def _describe_files(report: "IngestReport") -> Iterator[str]:
    """Say what stands in no column of the table of files."""
    for file in report.files:
        if file.statuses:
            counts = ", ".join(f"{status} {count:,}" for status, count in file.statuses.items())
            yield f"{file.name}: list entries without a rating: {counts}."
        oddities = {**file.notes, **{f"unreadable {name}": count for name, count in file.unreadable.items()}}
        if oddities:
            yield f"{file.name}: " + ", ".join(f"{what} {count:,}" for what, count in oddities.items()) + "."
    if report.ignored:
        yield f"Not read, another layout: {', '.join(report.ignored)}; --layout chooses."
