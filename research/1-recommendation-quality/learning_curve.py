"""Train on a part of the training users, and see what more users would bring.

    python research/1-recommendation-quality/learning_curve.py DIRECTORY WORK --models ease,ranker --shares 25,50,100

A hash of the user decides who belongs to the first quarter, the first half and so on, so that every share contains the
smaller ones. Validation and test users stay as they are, and so does the catalog. WORK keeps a folder for each share,
with what `measure.py` keeps; killed or run again, only what is missing is measured. The result is
WORK/learning_curve.json, which `render.py` reads.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from variants import build_parser, measure_variant, prepare_variant

from recsys.columns import Columns
from recsys.data.splits import TRAIN, assign_groups, hash_ids
from recsys.evaluation.comparison import PRIMARY, Result, pair
from recsys.gate.intervals import bootstrap_interval


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = build_parser(__doc__)
    parser.add_argument("--shares", default="25,50,100", help="percentages of the training users")
    return parser.parse_args()


def keep_share(ratings: pd.DataFrame, share: int) -> pd.DataFrame:
    """Keep the ratings of some per cent of the training users, and of all others."""
    users = ratings[Columns.User].to_numpy()
    drawn = hash_ids(users, salt=21) % np.uint64(100) < np.uint64(share)
    return ratings[drawn | (assign_groups(users) != TRAIN)].reset_index(drop=True)


def measure(arguments: argparse.Namespace, share: int) -> dict[str, Any]:
    """Evaluate the models that were trained on a share of the users."""
    folder = prepare_variant(arguments, f"share-{share}", lambda ratings: keep_share(ratings, share))
    results = measure_variant(arguments, folder)
    protocol = json.loads((folder / "results.json").read_text())["protocol"]
    return {
        "share": share,
        "n_training_users": protocol["n_training_users"],
        "models": {result.name: summarise(result, results[0], arguments.seed) for result in results},
    }


def summarise(result: Result, reference: Result, seed: int) -> dict[str, Any]:
    """Give a model's NDCG@10 with its interval, and paired with the first model."""
    mean = bootstrap_interval(result.values(PRIMARY), rng=np.random.default_rng(seed))
    versus = None if result is reference else pair(result, reference, (PRIMARY,))["all"][PRIMARY]
    return {"mean": asdict(mean), "versus": versus}


def main() -> None:
    """Train on share after share, then put everything together."""
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    shares = sorted({int(share) for share in arguments.shares.split(",")})
    if not shares or not 1 <= shares[0] <= shares[-1] <= 100:
        sys.exit(f"--shares {arguments.shares}: give percentages from 1 to 100")
    found = {"reference": arguments.models.split(",")[0], "shares": [measure(arguments, share) for share in shares]}
    path = arguments.work / "learning_curve.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"learning curve: {path}")


if __name__ == "__main__":
    main()
