"""`python -m retrain_model.feedback --day 2026-01-05`: take the waiting feedback over into the ratings."""

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from recsys.exceptions import RecsysError, compute_exit_code


def run(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Do the job and return its report, JSON-ready; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m retrain_model.feedback", description="Learn from feedback.")
    parser.add_argument("--day", type=dt.date.fromisoformat, required=True, help="names the row, like 2026-01-05")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be taken over and write nothing")
    options = parser.parse_args(arguments)
    from recsys.connections import open_engine
    from recsys.settings import load_settings
    from recsys.storage.database import migrate
    from recsys.storage.feedback_folds import fold_feedback

    with open_engine(load_settings()) as engine:
        migrate(engine)
        report = fold_feedback(engine, options.day, dry_run=options.dry_run)
    return {**asdict(report), "day": report.day.isoformat()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and print its report; 1 after a sentence on stderr."""
    try:
        sys.stdout.write(json.dumps(run(arguments)) + "\n")
    except RecsysError as error:
        sys.stderr.write(f"retrain_model.feedback: {' '.join(str(error).split())}\n")
        return compute_exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
