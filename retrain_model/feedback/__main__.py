"""`python -m retrain_model.feedback --day 2026-01-05`: write new feedback into the ratings."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from recsys.jobs import call_job, run_main

PROG = "retrain_model.feedback"


def ingest_feedback(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day of the report, like 2026-01-05.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would be ingested and write nothing.")
    ] = False,
) -> dict[str, Any]:
    """Write the feedback that arrived since the last run into the ratings, once."""
    from recsys.connections import open_engine
    from recsys.progress import log_progress, track_stage
    from recsys.settings import load_settings
    from recsys.storage.database import migrate
    from recsys.storage.feedback_folds import fold_feedback

    with (
        open_engine(load_settings()) as engine,
        log_progress() as on_progress,
        track_stage(on_progress, f"feedback of {day:%Y-%m-%d}"),
    ):
        migrate(engine)
        report = fold_feedback(engine, day.date(), dry_run=dry_run)
    return {**asdict(report), "day": report.day.isoformat()}


def run(arguments: Sequence[str] | None = None) -> Any:
    """Run the job and return its report, JSON-ready; wrong usage exits with 2."""
    return call_job(ingest_feedback, arguments, prog=f"python -m {PROG}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence, 2 wrong usage."""
    return run_main(ingest_feedback, arguments, prog=PROG)


if __name__ == "__main__":
    sys.exit(main())
