"""Rules and options of the drift job, shared by `python -m retrain_model.drift` and `otaku drift`.

The defaults stand in `DriftRules` and `DriftLimits` alone.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

import typer

from recsys.evaluation.drift_limits import DriftLimits


@dataclass(frozen=True)
class DriftRules:
    """Which users are compared, how far they may drift, and how often a retraining may be requested.

    Parameters
    ----------
    window_days
        Users who arrived on this many days up to the day are compared.
    rest_days
        A breach requests a retraining unless a challenger was trained as of one of these last days: what was
        evaluated and refused today would be refused tomorrow as well.
    """

    window_days: int = 28
    rest_days: int = 3
    limits: DriftLimits = field(default_factory=DriftLimits)


DEFAULTS: Final = DriftRules()

DAY_FORMAT: Final = "%Y-%m-%d"
DAY_HELP: Final = "The day of the report, like 2026-01-12."
Day = Annotated[datetime, typer.Option(formats=[DAY_FORMAT], help=DAY_HELP)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Measure any day; write no row, and the report below dry-run/ of the bucket.")
]
WindowDays = Annotated[int, typer.Option(min=1, help="Compare users who arrived within this many days.")]
RestDays = Annotated[int, typer.Option(min=1, help="Days after a retraining before another is requested.")]
Psi = Annotated[float, typer.Option(min=0.0, help="Limit of the population stability index.")]
UnknownShare = Annotated[float, typer.Option(min=0.0, max=1.0, help="Limit of the share of ratings of unknown titles.")]
AgeDays = Annotated[int, typer.Option(min=1, help="Limit of the age of the model.")]


def build_rules(window_days: int, rest_days: int, psi: float, unknown_share: float, age_days: int) -> DriftRules:
    """Build the rules from the values of the options."""
    limits = DriftLimits(psi_drifted=psi, unknown_share=unknown_share, age_days=age_days)
    return DriftRules(window_days=window_days, rest_days=rest_days, limits=limits)
