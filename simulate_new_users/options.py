"""Options of the daily arrivals, shared by `python -m simulate_new_users` and `otaku simulate`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.exceptions import ConfigurationError

if TYPE_CHECKING:
    from recsys.settings import Settings

DEFAULT_COHORT_SIZE: Final = (10, 25)

Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day of arrival, like 2026-01-05.")]
CohortSizeOption = Annotated[
    tuple[int, int] | None,
    typer.Option(
        metavar="MIN MAX",
        help="Bounds of the size of a cohort; the same for all days. [default: OTAKU_COHORT_MIN and OTAKU_COHORT_MAX]",
    ),
]
Scheduled = Annotated[
    bool, typer.Option("--scheduled", help="The day comes from a schedule: one before the queue starts is left out.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report who would arrive and write nothing.")]


def choose_cohort_size(given: tuple[int, int] | None, settings: "Settings") -> tuple[int, int]:
    """Return the bounds as given, else those of the settings.

    Raises
    ------
    ConfigurationError
        If the settings are no bounds.
    """
    if given is not None:
        return given
    if settings.cohort_min > settings.cohort_max:
        raise ConfigurationError(
            f"OTAKU_COHORT_MIN={settings.cohort_min} is more than OTAKU_COHORT_MAX={settings.cohort_max}; correct one"
        )
    return settings.cohort_min, settings.cohort_max
