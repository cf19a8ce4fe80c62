"""Train the trees with several seeds, and see how far their lists differ: four boosters joined beside one.

    python research/1-recommendation-quality/spread.py DIRECTORY WORK --seeds 5

WORK is the folder of `measure.py`, whose rows and fitted retriever are used by all trainings. The first booster of a
joined head is what a head of that one booster would be, so each training gives both. Killed or run again, only missing
seeds are trained. The result is WORK/spread.json, which `render.py` reads.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from measure import open_harness
from variants import build_parser

from otaku.evaluation.harness import EvaluationHarness
from recsys.evaluation.comparison import PRIMARY
from recsys.ranking.joined_head import train_joined_head
from recsys.ranking.ranker import Ranker, TrainedHead, train_head
from recsys.recommender import Recommender
from recsys.recommender.retriever import RANKER

SINGLE, JOINED = "one booster", "as versions are trained"


def train(harness: EvaluationHarness, ranker: Ranker, seed: int) -> pd.DataFrame:
    """Train the relevance head by a seed; return each test user's NDCG@10 by its first booster and by all."""
    data, heads = harness.training_data, dict[int, TrainedHead]()

    def train_and_keep(*args: Any, seed: int, **options: Any) -> TrainedHead:
        heads[seed] = train_head(*args, seed=seed, **options)
        return heads[seed]

    joined = train_joined_head(
        harness.preset.list_members(),
        data.train.schema,
        data.train.relevance,
        data.validation.relevance,
        seed=seed,
        n_threads=harness.inputs.n_threads,
        on_iteration=lambda done, total: harness.on_progress(f"seed {seed}", done, total),
        train_one=train_and_keep,
    )
    boosters = {SINGLE: heads[seed].booster, JOINED: joined.booster}
    values = {}
    for name, booster in boosters.items():
        model = Recommender(data.retriever, replace(ranker, relevance=booster))
        values[name] = harness.evaluate(RANKER, model).metrics[PRIMARY]
    return pd.DataFrame(values)


def summarise(tables: list[pd.DataFrame]) -> dict[str, Any]:
    """Give the mean of every training, their standard deviation, and that of a user's value over trainings."""
    found = {}
    for name in (SINGLE, JOINED):
        values = np.stack([table[name].to_numpy() for table in tables])  # (n_seeds, n_users)
        values = values[:, np.isfinite(values).all(axis=0)]
        means = values.mean(axis=1)
        found[name] = {"means": means.tolist(), "deviation": float(means.std(ddof=1)), "by_user": _within(values)}
    return {"n_seeds": len(tables), "n_users": values.shape[1], "heads": found}


def _within(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(values.var(axis=0, ddof=1).mean()))


def main() -> None:
    """Train what is missing, then put everything together."""
    parser = build_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="trainings, at least 2")
    parser.set_defaults(group="test", preset="default", max_users=None)
    arguments = parser.parse_args()
    folder: Path = arguments.work / "models" / RANKER
    if arguments.seeds < 2 or not folder.exists():
        sys.exit("give two seeds or more, and run measure.py first")
    harness = open_harness(arguments)
    ranker = Recommender.load(folder).ranker
    tables = []
    for seed in range(arguments.seeds):
        path = arguments.work / "spread" / f"{seed}.parquet"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            start = time.monotonic()
            found = train(harness, ranker, seed)
            found.to_parquet(path.with_suffix(".partial"))
            path.with_suffix(".partial").rename(path)
            means = ", ".join(f"{name} {found[name].mean():.4f}" for name in found)
            print(f"seed {seed}: {means}; {time.monotonic() - start:.0f} s", flush=True)
        tables.append(pd.read_parquet(path))
    result = arguments.work / "spread.json"
    result.write_text(json.dumps(summarise(tables), indent=1) + "\n", encoding="utf-8")
    print(f"spread: {result}")


if __name__ == "__main__":
    main()
