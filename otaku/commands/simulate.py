"""`otaku simulate`: one day of new users."""

import json
from typing import Annotated

import typer

from simulate_new_users.options import CohortSizeOption, Day, DryRun, choose_cohort_size


def simulate(
    day: Day,
    cohort_size: CohortSizeOption = None,
    dry_run: DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of a sentence.")] = False,
) -> None:
    """Add the new users of a day; the same day again changes nothing."""
    from otaku.console import console, running_settings, show_progress
    from recsys.connections import open_engine
    from recsys.progress import track_stage
    from simulate_new_users.__main__ import describe, to_dict
    from simulate_new_users.job import add_new_users

    settings = running_settings()
    size = choose_cohort_size(cohort_size, settings)
    with (
        open_engine(settings) as engine,
        show_progress() as on_progress,
        track_stage(on_progress, f"arrivals of {day:%Y-%m-%d}"),
    ):
        report = add_new_users(engine, day.date(), cohort_size=size, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(to_dict(report), indent=2))
    else:
        console.print(describe(report), soft_wrap=True)
