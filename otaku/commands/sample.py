"""`otaku sample`: a synthetic data set."""

from pathlib import Path
from typing import Annotated

import typer


def sample(
    directory: Annotated[Path, typer.Argument(help="Where to write the files; created if missing.", file_okay=False)],
    users: Annotated[int, typer.Option(min=2, help="How many users.")] = 600,
    items: Annotated[int, typer.Option(min=2, help="How many anime.")] = 800,
    ratings: Annotated[int, typer.Option(min=1, help="How many ratings.")] = 40_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same files.")] = 0,
) -> None:
    """Write a synthetic data set that `otaku ingest` reads: made-up titles and users with learnable preferences."""
    from otaku.console import console, show_progress
    from recsys.data.sample_world import write_sample_world
    from recsys.progress import track_stage

    with show_progress() as on_progress, track_stage(on_progress, "sample data"):
        write_sample_world(directory, n_users=users, n_items=items, n_ratings=ratings, seed=seed)
    console.print(f"Wrote {users:,} users, {items:,} anime and {ratings:,} ratings to {directory}.")
