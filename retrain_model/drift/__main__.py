"""`python -m retrain_model.drift --day 2026-01-12`: compare the users of the last days with those of the model."""

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from typing import Any

from recsys.exceptions import RecsysError, compute_exit_code


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m retrain_model.drift", description="Measure drift.")
    parser.add_argument("--day", type=dt.date.fromisoformat, required=True, help="the day, like 2026-01-12")
    parser.add_argument("--window-days", type=int, default=28, help="compare the users of so many days")
    parser.add_argument("--rest-days", type=int, default=3, help="days after which another retraining may be asked for")
    parser.add_argument("--psi", type=float, default=0.25, help="population stability index that is too much")
    parser.add_argument("--unknown-share", type=float, default=0.05, help="share of ratings about unknown titles")
    parser.add_argument("--age-days", type=int, default=35, help="age of the model that is too much")
    return parser


def run(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Do the job and return the row of the day, JSON-ready; wrong usage exits with 2."""
    options = build_parser().parse_args(arguments)
    from recsys.connections import open_engine, open_registry, open_store
    from recsys.evaluation.drift import DriftLimits
    from recsys.settings import load_settings
    from recsys.storage.database import migrate
    from retrain_model.drift.job import DriftRules, monitor_drift

    limits = DriftLimits(psi_drifted=options.psi, unknown_share=options.unknown_share, age_days=options.age_days)
    rules = DriftRules(window_days=options.window_days, rest_days=options.rest_days, limits=limits)
    settings = load_settings()
    registry, store = open_registry(settings), open_store(settings)
    with open_engine(settings) as engine:
        migrate(engine)
        store.ensure_bucket()
        return monitor_drift(engine, store, registry, options.day, rules).to_dict()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and print the row; 1 after a sentence on stderr, 99 while nothing is in Production."""
    try:
        sys.stdout.write(json.dumps(run(arguments), indent=1) + "\n")
    except RecsysError as error:
        sys.stderr.write(f"retrain_model.drift: {' '.join(str(error).split())}\n")
        return compute_exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
