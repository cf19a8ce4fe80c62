"""`python -m retrain_model.feedback --day 2026-01-05`: write new feedback into the ratings."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.jobs import call_job, run_main

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from recsys.storage.feedback_folds import FoldReport

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
    from recsys.storage.feedback_folds import fold_feedback
    from recsys.storage.lineage import References, name_tables
    from recsys.storage.migration import migrate
    from recsys.storage.schema_state import require_schema
    from recsys.storage.tables import feedback, feedback_folds, ratings, user_preferences, watch_statuses

    with (
        open_engine(load_settings()) as engine,
        log_progress() as on_progress,
        track_stage(on_progress, f"feedback of {day:%Y-%m-%d}"),
    ):
        (require_schema if dry_run else migrate)(engine)
        report = fold_feedback(engine, day.date(), dry_run=dry_run)
        last_fold = None if report.n_feedback else _read_last_fold(engine)
        written = (ratings, watch_statuses, user_preferences, feedback_folds)
        references = References(inputs=name_tables(engine, (feedback,)), outputs=name_tables(engine, written))
    told = {"day": report.day.isoformat(), "last_fold": last_fold, "sentence": _describe(report)}
    return {**asdict(report), **told, "references": references.to_dict()}


def _read_last_fold(engine: "Engine") -> dict[str, Any] | None:
    """Read when feedback was taken over last, and how many ratings changed then."""
    from sqlalchemy import select

    from recsys.storage.tables import feedback_folds

    newest = select(feedback_folds).order_by(feedback_folds.c.last_feedback_id.desc()).limit(1)
    with engine.connect() as connection:
        row = connection.execute(newest).one_or_none()
    return None if row is None else {"at": row.created_at.isoformat(), "n_ratings": row.n_ratings}


def _describe(report: "FoldReport") -> str:
    if not report.n_feedback:
        return f"no new feedback after event {report.last_feedback_id}"
    changed = f"{report.n_feedback} new events, {report.n_ratings} ratings and {report.n_statuses} statuses"
    return f"{changed} {'would change; nothing was written' if report.dry_run else 'changed'}"


def run(arguments: Sequence[str] | None = None) -> Any:
    """Run the job and return its report, JSON-ready; wrong usage exits with 2."""
    return call_job(ingest_feedback, arguments, prog=f"python -m {PROG}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence, 2 wrong usage."""
    return run_main(ingest_feedback, arguments, prog=PROG)


if __name__ == "__main__":
    sys.exit(main())
