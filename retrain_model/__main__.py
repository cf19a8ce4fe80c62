"""`python -m retrain_model [STEP] --as-of DAY`: the weekly job, whole or one step of it, without Airflow."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import date

from recsys.exceptions import RecsysError, compute_exit_code
from recsys.ranking.params import PRESETS
from recsys.settings import load_settings

STEPS = ("snapshot", "embed_text", "fit_retrieval", "train_ranker", "evaluate", "gate", "promote", "keep")


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m retrain_model", description=__doc__)
    parser.add_argument("step", nargs="?", choices=STEPS, help="run this step only; without it, all in order")
    parser.add_argument(
        "--as-of", required=True, type=date.fromisoformat, help="last day of arrivals to learn from, YYYY-MM-DD"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="default", help="hyper-parameters of the ranker")
    parser.add_argument("--dry-run", action="store_true", help="train and judge, but promote nothing")
    return parser


def run(arguments: Sequence[str] | None = None) -> object:
    """Do the job or one step of it and return what it ended with, JSON-ready; wrong usage exits with 2."""
    options = build_parser().parse_args(arguments)
    from retrain_model import steps
    from retrain_model.job import open_context, retrain

    with open_context(options.as_of, options.preset) as context:
        if options.step is None:
            return retrain(context, dry_run=options.dry_run).to_dict()
        return getattr(steps, options.step)(context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence, 2 wrong usage, 99 nothing was ingested yet."""
    build_parser().parse_args(arguments)
    try:
        level = load_settings().log_level
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        sys.stdout.write(json.dumps(run(arguments), indent=1) + "\n")
    except RecsysError as error:
        sys.stderr.write(f"{error}\n")
        return compute_exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
