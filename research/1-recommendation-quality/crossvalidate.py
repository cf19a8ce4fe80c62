"""Evaluate by other users as well: test users change places with tenths of the training users, tenth after tenth.

    python research/1-recommendation-quality/crossvalidate.py DIRECTORY WORK --models ease,ranker --splits 5 \
        --params tuned.json

Split 0 is the one that `measure.py` evaluates on. Every other split gives a tenth of all users, trained on so far, ids
that make them test users, and gives the test users of split 0 ids of training users. Validation users stay where they
are: what was tuned on them is never evaluated on them, and no user is evaluated on twice. WORK keeps a folder a split,
with what `measure.py` keeps; killed or run again, only what is missing is measured. The result is WORK/splits.json,
which `render.py` reads.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from variants import build_parser, measure_variant, prepare_variant

from recsys.columns import Columns
from recsys.data.splits import TEST, TRAIN, assign_groups, hash_ids
from recsys.evaluation.comparison import PRIMARY, SLICED, Result, pair
from recsys.types import Ids

MAX_SPLITS: Final = 9  # eight tenths are trained on, and one is the usual test users


def parse_arguments() -> argparse.Namespace:
    """Read the command line; what is not known here is left to `measure.py`."""
    parser = build_parser(__doc__)
    parser.add_argument("--splits", type=int, default=5, choices=range(1, MAX_SPLITS + 1), metavar="1..9")
    return parser.parse_args()


def find_ids(group: str, n_ids: int, after: int) -> Ids:
    """Find the first ids above a number that belong to a group."""
    found = np.empty(0, dtype=np.int64)
    start, step = after + 1, 20 * n_ids + 100
    while len(found) < n_ids:
        candidates = np.arange(start, start + step)
        found = np.concatenate([found, candidates[assign_groups(candidates) == group]])
        start += step
    return found[:n_ids]


def exchange(ratings: pd.DataFrame, tenth: int) -> pd.DataFrame:
    """Make test users of a tenth of the users, 0..7, and training users of those who were test users."""
    users = np.unique(ratings[Columns.User].to_numpy())
    moved = users[hash_ids(users, salt=1) % np.uint64(100) // np.uint64(10) == tenth]
    tested = users[assign_groups(users) == TEST]
    new = find_ids(TEST, len(moved), int(users.max()))
    names = dict(zip(moved.tolist(), new.tolist(), strict=True))
    names |= dict(zip(tested.tolist(), find_ids(TRAIN, len(tested), int(new.max())).tolist(), strict=True))
    renamed = ratings[Columns.User].map(lambda user: names.get(user, user)).astype("int64")
    return ratings.assign(**{Columns.User: renamed}).sort_values([Columns.User, Columns.Item], ignore_index=True)


def measure(arguments: argparse.Namespace, split: int) -> list[Result]:
    """Evaluate the models by the test users of a split."""
    folder = prepare_variant(
        arguments, f"split-{split}", lambda ratings: exchange(ratings, split - 1) if split else ratings
    )
    return measure_variant(arguments, folder)


def join(results: Sequence[Result]) -> Result:
    """Put the users of all splits one below the other."""
    table = pd.concat([result.table for result in results], ignore_index=True)
    return Result(results[0].name, table, results[0].coverage)


def summarise(splits: Sequence[Sequence[Result]]) -> dict[str, Any]:
    """Pair every model with the first one, split by split and over everybody."""
    reference = join([results[0] for results in splits])
    models = {}
    for place, first in enumerate(splits[0]):
        whole = join([results[place] for results in splits])
        models[first.name] = {
            "mean": float(np.nanmean(whole.values(PRIMARY))),
            "by_split": [float(np.nanmean(results[place].values(PRIMARY))) for results in splits],
            "versus": pair(whole, reference) if place else None,
            "versus_by_split": [pair(results[place], results[0], SLICED)["all"] for results in splits]
            if place
            else None,
        }
    return {"reference": reference.name, "n_users": len(reference.table), "n_splits": len(splits), "models": models}


def main() -> None:
    """Evaluate split after split, then put everything together."""
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = summarise([measure(arguments, split) for split in range(arguments.splits)])
    path = arguments.work / "splits.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"splits: {path}")


if __name__ == "__main__":
    main()
