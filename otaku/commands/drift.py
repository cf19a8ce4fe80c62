"""`otaku drift`: does the model in Production still fit the users."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from otaku.commands.history import list_drift
from retrain_model.drift.options import (
    DAY_FORMAT,
    DAY_HELP,
    DEFAULTS,
    AgeDays,
    Psi,
    RestDays,
    UnknownShare,
    WindowDays,
    build_rules,
)

if TYPE_CHECKING:
    from retrain_model.drift.job import DriftRow


app = typer.Typer()
app.command("list")(list_drift)


@app.callback(invoke_without_command=True)
def drift(
    context: typer.Context,
    day: Annotated[datetime | None, typer.Option(formats=[DAY_FORMAT], help=DAY_HELP)] = None,
    window_days: WindowDays = DEFAULTS.window_days,
    rest_days: RestDays = DEFAULTS.rest_days,
    psi: Psi = DEFAULTS.limits.psi_drifted,
    unknown_share: UnknownShare = DEFAULTS.limits.unknown_share,
    age_days: AgeDays = DEFAULTS.limits.age_days,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare recent users with those the model in Production was trained on.

    A day that the nightly job measured shows its stored report; any other is measured now and nothing is stored but
    the report, below dry-run/ of the bucket.
    """
    if context.invoked_subcommand is not None:
        return
    if day is None:
        raise typer.BadParameter("name the day, like --day 2026-01-12", param_hint="'--day'")
    from otaku.console import running_settings, show_progress
    from recsys.connections import open_engine, open_registry, open_store
    from recsys.progress import track_stage
    from recsys.storage.schema_state import require_schema
    from retrain_model.drift.job import monitor_drift

    rules = build_rules(window_days, rest_days, psi, unknown_share, age_days)
    settings = running_settings()
    store, registry = open_store(settings), open_registry(settings)
    with (
        open_engine(settings) as engine,
        show_progress() as on_progress,
        track_stage(on_progress, f"drift of {day:%Y-%m-%d}"),
    ):
        require_schema(engine)
        row = monitor_drift(engine, store, registry, day.date(), rules, dry_run=True)
    if as_json:
        typer.echo(json.dumps(row.to_dict(), indent=2))
    else:
        _show(row, window_days)


def _show(row: "DriftRow", window_days: int) -> None:
    from rich.table import Table

    from otaku.console import console

    report = row.report
    table = Table(
        "distribution",
        title=f"{report['n_current']} users of {window_days} days, {report['n_reference']} users of the training data",
        title_justify="left",
    )
    for name in ("PSI", "PSI by chance", "KS", "p"):
        table.add_column(name, justify="right")
    table.add_column("level")
    for found in report["features"]:
        numbers = (found[name] for name in ("psi", "psi_by_chance", "ks", "p_value"))
        table.add_row(found["name"], *("-" if value is None else f"{value:.3g}" for value in numbers), found["level"])
    console.print(table)
    console.print(
        f"ratings of unknown titles: {report['unknown_share']:.2%}; age of the model: {report['age_days']} days"
    )
    color = "yellow" if row.breached else "green"
    console.print(f"[{color}]{row.reason}[/]; the report is at {row.report_uri}", soft_wrap=True)
