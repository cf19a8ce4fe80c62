"""`otaku ingest`: files into the database and the object store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from recsys.storage.ingestion import IngestReport


def ingest(
    directory: Annotated[
        Path, typer.Argument(help="Folder with the files of one of the known layouts.", exists=True, file_okay=False)
    ],
    hold_back: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of the users kept back, to arrive later.")
    ] = 0.3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Load anime and ratings; bad rows are quarantined with their reason. The same files again change nothing.

    Layouts: Kaggle 2020 (anime.csv, anime_with_synopsis.csv, rating_complete.csv) and CooperUnion (anime.csv,
    rating.csv with -1 for unrated), as .csv, .csv.gz or .parquet.
    """
    from otaku.console import console, running_settings, show_progress
    from recsys.connections import open_engine, open_store
    from recsys.storage.database import migrate
    from recsys.storage.ingestion import ingest_directory

    settings = running_settings()
    store = open_store(settings)
    store.ensure_bucket()
    with open_engine(settings) as engine, show_progress() as on_progress:
        migrate(engine)
        report = ingest_directory(directory, engine, store, hold_back=hold_back, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        console.print(build_file_table(report))
        console.print(describe(report), soft_wrap=True)


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
    """Say in a few lines what an ingest did."""
    changed = ", ".join(f"{table} {count:,}" for table, count in report.written.items() if count)
    return (
        f"{report.n_items:,} anime; {report.n_users_known:,} users known, {report.n_users_held_back:,} held back.\n"
        f"Changed rows: {changed or 'none'}.\n"
        f"Snapshot {report.snapshot_uri}, after {report.seconds:.1f} s."
    )
