"""`otaku retrain`: one retraining, outside Airflow."""

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from retrain_model.options import ApprovalMode, DryRun, Gate, OptionalAsOf, Preset, Threads, TrainOn


def retrain(
    as_of: OptionalAsOf = None,
    preset: Preset = "default",
    gate: Gate = "{}",
    approval: ApprovalMode = None,
    threads: Threads = None,
    train_on: TrainOn = None,
    dry_run: DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Train a challenger on the data as of a day, evaluate it, and promote it if it passes the gate.

    The same day again finds the finished steps and changes nothing.
    """
    from otaku.console import console, running_settings, show_progress
    from otaku.demo.console_output import ConsoleOutput
    from retrain_model.days import find_last_finished_day
    from retrain_model.job import open_context, parse_rules
    from retrain_model.job import retrain as run

    settings = running_settings()
    start = time.perf_counter()
    with (
        show_progress() as on_progress,
        open_context(
            as_of.date() if as_of else find_last_finished_day(datetime.now(UTC)),
            preset,
            settings=settings,
            progress=on_progress,
            gate=parse_rules(gate),
            approval=approval,
            n_threads=threads,
            train_on=train_on,
            dry_run=dry_run,
        ) as context,
    ):
        report = run(context)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        ConsoleOutput(console).retrained(report.to_dict(), time.perf_counter() - start)
