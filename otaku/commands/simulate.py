"""`otaku simulate`: one day of new users."""

from datetime import datetime
from typing import Annotated

import typer


def simulate(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day on which they arrive, like 2026-01-05.")],
    cohort_size: Annotated[
        tuple[int, int], typer.Option(metavar="MIN MAX", help="Bounds of a day's cohort, the same for all days.")
    ] = (10, 25),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would arrive and write nothing.")] = False,
) -> None:
    """Let the new users of a day arrive; the same day again changes nothing."""
    from otaku.console import console, running_settings
    from recsys.connections import open_engine
    from simulate_new_users.__main__ import describe
    from simulate_new_users.job import add_new_users

    with open_engine(running_settings()) as engine:
        report = add_new_users(engine, day.date(), cohort_size=cohort_size, dry_run=dry_run)
    console.print(describe(report), soft_wrap=True)
