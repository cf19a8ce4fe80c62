"""`python -m simulate_new_users --day 2026-01-05`: let the cohort of a day arrive."""

import argparse
import datetime as dt
import sys
from collections.abc import Sequence

from recsys.connections import open_engine
from recsys.exceptions import ArrivalError, RecsysError
from recsys.settings import load_settings
from simulate_new_users.arrivals import DEFAULT_COHORT_SIZE, check_cohort_size, check_day
from simulate_new_users.job import ArrivalReport, add_new_users


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return 0, or 1 after a sentence on stderr; wrong usage exits with 2."""
    options = _parse(arguments)
    try:
        report = _run(options.day, tuple(options.cohort_size), dry_run=options.dry_run)
    except RecsysError as error:
        sys.stderr.write(f"simulate_new_users: {' '.join(str(error).split())}\n")
        return 1
    sys.stdout.write(f"{describe(report)}\n")
    return 0


def describe(report: ArrivalReport) -> str:
    """Say in one sentence what a run did."""
    generated = f" ({report.n_generated} of them generated)" if report.n_generated else ""
    cohort = f"{report.n_users} people{generated} with {report.n_ratings:,} ratings"
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
    options = parser.parse_args(arguments)
    try:
        check_day(options.day)
        check_cohort_size(tuple(options.cohort_size))
    except ArrivalError as error:
        parser.error(str(error))
    return options


def _run(day: dt.date, cohort_size: tuple[int, int], *, dry_run: bool) -> ArrivalReport:
    with open_engine(load_settings()) as engine:
        return add_new_users(engine, day, cohort_size=cohort_size, dry_run=dry_run)


if __name__ == "__main__":
    sys.exit(main())
