"""`otaku drift`: does the model in Production still fit the users."""

from datetime import datetime
from typing import Annotated

import typer


def drift(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day, like 2026-01-12.")],
    window_days: Annotated[int, typer.Option(min=1, help="Look at users who arrived within so many days.")] = 28,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare users who arrived lately with those the model in Production was trained on.

    A day that was measured before shows what was found then.
    """
    import json

    from rich.table import Table

    from otaku.console import console, running_settings
    from recsys.connections import open_engine, open_registry, open_store
    from recsys.storage.database import migrate
    from retrain_model.drift.job import DriftRules, monitor_drift

    settings = running_settings()
    store, registry = open_store(settings), open_registry(settings)
    with open_engine(settings) as engine:
        migrate(engine)
        row = monitor_drift(engine, store, registry, day.date(), DriftRules(window_days=window_days))
    if as_json:
        typer.echo(json.dumps(row.to_dict(), indent=2))
        return
    report = row.report
    table = Table(
        "distribution",
        title=f"{report['n_current']} users of {window_days} days beside {report['n_reference']} of the training",
        title_justify="left",
    )
    for name in ("PSI", "by chance up to", "KS", "p"):
        table.add_column(name, justify="right")
    table.add_column("level")
    for found in report["features"]:
        numbers = (found[name] for name in ("psi", "psi_by_chance", "ks", "p_value"))
        table.add_row(found["name"], *("-" if value is None else f"{value:.3g}" for value in numbers), found["level"])
    console.print(table)
    console.print(
        f"ratings about unknown titles: {report['unknown_share']:.2%}; age of the model: {report['age_days']} days"
    )
    colour = "yellow" if row.breached else "green"
    console.print(f"[{colour}]{row.reason}[/]; the whole report is at {row.report_uri}", soft_wrap=True)
