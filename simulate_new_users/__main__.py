"""`python -m simulate_new_users --day 2026-01-05`: add the cohort of a day."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.jobs import call_job, run_main
from simulate_new_users.options import CohortSizeOption, Day, DryRun, Scheduled, choose_cohort_size

if TYPE_CHECKING:
    from simulate_new_users.job import ArrivalReport

PROG = "simulate_new_users"


def simulate_new_users(
    day: Day,
    cohort_size: CohortSizeOption = None,
    dry_run: DryRun = False,
    scheduled: Scheduled = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of a sentence.")] = False,
) -> dict[str, Any] | str:
    """Add the cohort of a day; the same day again changes nothing."""
    from recsys.connections import open_engine
    from recsys.exceptions import ArrivalError, ConfigurationError
    from recsys.progress import log_progress, track_stage
    from recsys.settings import load_settings
    from simulate_new_users.arrivals import select_positions
    from simulate_new_users.job import add_new_users, build_references

    settings = load_settings()
    try:
        size = choose_cohort_size(cohort_size, settings)
        select_positions(day.date(), size)
    except (ArrivalError, ConfigurationError) as error:
        raise typer.BadParameter(str(error)) from error
    with (
        open_engine(settings) as engine,
        log_progress() as on_progress,
        track_stage(on_progress, f"arrivals of {day:%Y-%m-%d}"),
    ):
        report = add_new_users(engine, day.date(), cohort_size=size, dry_run=dry_run, scheduled=scheduled)
        references = {"references": build_references(engine).to_dict()}
    return to_dict(report) | references if as_json else describe(report)


def run(arguments: Sequence[str] | None = None) -> Any:
    """Run the job and return its report: JSON-ready with `--json`, else a sentence; wrong usage exits with 2."""
    return call_job(simulate_new_users, arguments, prog=f"python -m {PROG}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence, 2 wrong usage, 99 nobody can arrive yet."""
    return run_main(simulate_new_users, arguments, prog=PROG, show=_show)


def to_dict(report: "ArrivalReport") -> dict[str, Any]:
    """Return the numbers of a report, JSON-ready."""
    return {
        "day": report.day.isoformat(),
        "n_users": report.n_users,
        "n_ratings": report.n_ratings,
        "n_generated": report.n_generated,
        "already_arrived": report.already_arrived,
        "arrived_at": report.arrived_at.isoformat() if report.arrived_at else None,
        "dry_run": report.dry_run,
        "sentence": describe(report),
    }


def describe(report: "ArrivalReport") -> str:
    """Describe in one sentence what a run did."""
    generated = f" ({report.n_generated} of them generated)" if report.n_generated else ""
    cohort = f"{report.n_users} users{generated} with {report.n_ratings:,} ratings"
    if report.already_arrived:
        return f"{report.day}: nothing to do, {cohort} had arrived before"
    return f"{report.day}: {cohort} {'would arrive; nothing was written' if report.dry_run else 'arrived'}"


def _show(result: dict[str, Any] | str) -> str:
    return result if isinstance(result, str) else json.dumps(result)


if __name__ == "__main__":
    sys.exit(main())
