"""`python -m retrain_model [STEP] --as-of DAY`: the weekly job, whole or one step of it, without Airflow."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import date

from recsys.exceptions import RecsysError
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence on stderr, 2 wrong usage."""
    options = build_parser().parse_args(arguments)
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        from retrain_model import steps
        from retrain_model.job import open_context, retrain

        with open_context(options.as_of, options.preset, settings=settings) as context:
            if options.step is None:
                result: object = retrain(context, dry_run=options.dry_run).to_dict()
            else:
                result = getattr(steps, options.step)(context)
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    except RecsysError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
