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
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from measure import load_world

from recsys.columns import Columns
from recsys.data.splits import TEST, TRAIN, assign_groups, hash_ids
from recsys.evaluation.comparison import PRIMARY, SLICED, Result, pair
from recsys.gate.intervals import Interval
from recsys.types import Ids

HERE: Final = Path(__file__).parent
MAX_SPLITS: Final = 9  # eight tenths are trained on, and one is the usual test users


def parse_arguments() -> argparse.Namespace:
    """Read the command line; what is not known here is left to `measure.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default="ease,ranker", help="the first one is what the others are paired with")
    parser.add_argument("--splits", type=int, default=5, choices=range(1, MAX_SPLITS + 1), metavar="1..9")
    parser.add_argument("--params", type=Path, help="tuned hyper-parameters, as tune.py writes them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
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


def prepare(arguments: argparse.Namespace, split: int) -> Path:
    """Write the world of a split where `measure.py` looks for it, beside the text vectors that all splits share."""
    folder = arguments.work / f"split-{split}"
    world = folder / "world"
    if not (world / "done.json").exists():
        usual = load_world(arguments.directory, arguments.work)
        world.mkdir(parents=True, exist_ok=True)
        usual.catalog.items.to_parquet(world / "items.parquet", index=False)
        ratings = usual.interactions.table if split == 0 else exchange(usual.interactions.table, split - 1)
        ratings.to_parquet(world / "ratings.parquet", index=False)
        (world / "done.json").write_text(json.dumps({"digest": f"{usual.name} split {split}"}))
    vectors = arguments.work / "text-vectors"
    vectors.mkdir(exist_ok=True)
    if not (folder / "text-vectors").exists():
        (folder / "text-vectors").symlink_to(vectors.resolve())
    return folder


def measure(arguments: argparse.Namespace, split: int) -> list[Result]:
    """Evaluate the models by the test users of a split."""
    folder, names = prepare(arguments, split), arguments.models.split(",")
    print(f"split {split} ...", flush=True)
    command = [sys.executable, str(HERE / "measure.py"), str(arguments.directory), str(folder)]
    command += ["--models", arguments.models, "--reference", names[0], "--seed", str(arguments.seed)]
    command += ["--threads", str(arguments.threads)]
    command += [] if arguments.params is None else ["--params", str(arguments.params)]
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 - our own script
        sys.exit(f"split {split} stopped with {code}; run again to go on")
    nothing = Interval(np.nan, np.nan, np.nan, level=0.95, n=0)
    return [Result(name, pd.read_parquet(folder / "test" / f"{name}.parquet"), nothing) for name in names]


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
