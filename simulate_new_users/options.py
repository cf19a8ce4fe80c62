"""Options of the daily arrivals, shared by `python -m simulate_new_users` and `otaku simulate`."""

from datetime import datetime
from typing import Annotated, Final

import typer

DEFAULT_COHORT_SIZE: Final = (10, 25)

Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day of arrival, like 2026-01-05.")]
CohortSizeOption = Annotated[
    tuple[int, int], typer.Option(metavar="MIN MAX", help="Bounds of the size of a cohort; the same for all days.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report who would arrive and write nothing.")]
