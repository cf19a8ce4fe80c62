"""`otaku ingest`: files into the database and the object store."""

from pathlib import Path
from typing import Annotated

import typer


def ingest(
    directory: Annotated[
        Path, typer.Argument(help="Folder with the files of one of the known layouts.", exists=True, file_okay=False)
    ],
    hold_back: Annotated[
        float, typer.Option(min=0.0, max=0.95, help="Share of the users kept back to arrive later.")
    ] = 0.3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Load anime and ratings; bad rows are quarantined with their reason. The same files again change nothing."""
    raise NotImplementedError(directory, hold_back, as_json)
