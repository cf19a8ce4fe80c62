"""`otaku retrain`: one retraining, outside Airflow."""

import json
import time
from datetime import datetime
from typing import Annotated

import typer


def retrain(
    as_of: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day of arrivals to learn from.")],
    preset: Annotated[str, typer.Option(help="Hyper-parameters of the ranker: default, original.")] = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge, but promote nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Train a challenger on what is known by a day, judge it on held-out users, promote it if the gate says yes.

    The same day again finds the finished steps and changes nothing.
    """
    from otaku.console import console, error_console, running_settings
    from otaku.demo.narrator import Narrator
    from retrain_model.job import open_context
    from retrain_model.job import retrain as run

    narrator = Narrator(error_console if as_json else console)
    settings = running_settings()
    day = as_of.date()
    start = time.perf_counter()
    with narrator.watching(), open_context(day, preset, settings=settings, progress=narrator.progress) as context:
        report = run(context, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        narrator.retrained(report.to_dict(), time.perf_counter() - start)
