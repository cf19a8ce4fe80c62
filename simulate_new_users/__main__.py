"""`python -m simulate_new_users --day 2026-01-05`: let the cohort of a day arrive."""

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from typing import Any

from recsys.connections import open_engine
from recsys.exceptions import ArrivalError, RecsysError, compute_exit_code
from recsys.settings import load_settings
from simulate_new_users.arrivals import DEFAULT_COHORT_SIZE, check_cohort_size, check_day
from simulate_new_users.job import ArrivalReport, add_new_users


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return 0, 99 before anything was ingested, 1 after a sentence; wrong usage exits with 2."""
    options = _parse(arguments)
    try:
        report = _run(options)
    except RecsysError as error:
        sys.stderr.write(f"simulate_new_users: {' '.join(str(error).split())}\n")
        return compute_exit_code(error)
    sys.stdout.write(f"{json.dumps(to_dict(report)) if options.json else describe(report)}\n")
    return 0


def run(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Do the job and return its report, JSON-ready; wrong usage exits with 2."""
    return to_dict(_run(_parse(arguments)))


def to_dict(report: ArrivalReport) -> dict[str, Any]:
    """Return the numbers of a report, JSON-ready."""
    return {"day": report.day.isoformat(), "n_users": report.n_users, "n_ratings": report.n_ratings}


def describe(report: ArrivalReport) -> str:
    """Say in one sentence what a run did."""
    generated = f" ({report.n_generated} of them generated)" if report.n_generated else ""
    cohort = f"{report.n_users} users{generated} with {report.n_ratings:,} ratings"
    if report.already_arrived:
        return f"{report.day}: nothing to do, {cohort} had arrived before"
    return f"{report.day}: {cohort} {'would arrive; nothing was written' if report.dry_run else 'arrived'}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulate_new_users", description="Let the cohort of a day arrive.")
    parser.add_argument("--day", type=dt.date.fromisoformat, required=True, help="the day, like 2026-01-05")
    parser.add_argument("--dry-run", action="store_true", help="tell who would arrive and write nothing")
    parser.add_argument(
        "--cohort-size",
        type=int,
        nargs=2,
        default=DEFAULT_COHORT_SIZE,
        metavar=("MIN", "MAX"),
        help="bounds of the size of a cohort, the same for all days (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of a sentence")
    options = parser.parse_args(arguments)
    try:
        check_day(options.day)
        check_cohort_size(tuple(options.cohort_size))
    except ArrivalError as error:
        parser.error(str(error))
    return options


def _run(options: argparse.Namespace) -> ArrivalReport:
    with open_engine(load_settings()) as engine:
        return add_new_users(engine, options.day, cohort_size=tuple(options.cohort_size), dry_run=options.dry_run)


if __name__ == "__main__":
    sys.exit(main())
