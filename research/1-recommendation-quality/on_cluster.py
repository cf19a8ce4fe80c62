"""Train the ranker on a Dask cluster of this machine, and see whether its lists are those of one process.

    python research/1-recommendation-quality/on_cluster.py DIRECTORY WORK --workers 2,4

WORK is the folder of `measure.py`, whose first stages are used and whose ranker is compared with. A worker has one
thread. The result is WORK/on_cluster.json.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from measure import open_harness
from variants import build_parser

from otaku.evaluation.harness import EvaluationHarness
from recsys.distributed.cluster import open_cluster
from recsys.distributed.evaluation import evaluate_on_cluster
from recsys.distributed.partitions import Partitions, write_partitions
from recsys.distributed.ranker import train_recommender_on_cluster
from recsys.evaluation.comparison import PRIMARY
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.gate.intervals import paired_difference
from recsys.recommender.retriever import RANKER


def read_usage() -> tuple[float, float]:
    """Return the seconds of processors of this process, and the peak of its memory in MiB.

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return time.process_time(), int(peak.split()[1]) / 1024


def measure(harness: EvaluationHarness, partitions: Partitions, n_workers: int, known: pd.DataFrame) -> dict[str, Any]:
    """Train and evaluate on so many new workers; compare with the known values of the test users."""
    catalog = harness.world.catalog
    full, *folds = harness.stages
    titles = (catalog, harness.inputs.text_vectors(), compute_title_neighbours(catalog))
    with open_cluster(None, n_workers=n_workers) as client, tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        client.wait_for_workers(n_workers)
        start = time.perf_counter()
        fitted = train_recommender_on_cluster(
            client,
            partitions,
            full,
            folds,
            titles,
            harness.preset,
            seed=harness.inputs.seed,
            n_workers=n_workers,
            on_progress=harness.on_progress,
        )
        trained = time.perf_counter() - start
        fitted.recommender.save(Path(folder))
        result = evaluate_on_cluster(client, RANKER, Path(folder), harness.eval_set, partitions.address)[0]
        evaluated = time.perf_counter() - start - trained
        usage = list(client.run(read_usage).values())
    values = pd.Series(result.metrics[PRIMARY], harness.eval_set.users.user_ids).reindex(known["user_id"])
    return {
        "workers": n_workers,
        "train_seconds": trained,
        "evaluate_seconds": evaluated,
        "cpu_seconds": sum(cpu for cpu, _ in usage),
        "peak_mib": [peak for _, peak in usage],
        "rows": fitted.trained.n_rows,
        "versus_one_process": asdict(paired_difference(values.to_numpy(), known[PRIMARY].to_numpy())),
    }


def main() -> None:
    """Train by each number of workers."""
    parser = build_parser(__doc__)
    parser.add_argument("--workers", default="2", help="numbers of workers: 2,4")
    parser.set_defaults(group="test", preset="default", max_users=None)
    arguments = parser.parse_args()
    known = arguments.work / "test" / f"{RANKER}.parquet"
    if not known.exists():
        sys.exit(f"{known} is missing; run measure.py first")
    harness = open_harness(arguments)
    found = []
    with tempfile.TemporaryDirectory(prefix="otaku-partitions-") as place:
        partitions = write_partitions(harness.world.interactions, harness.world.catalog, place)
        for n_workers in map(int, arguments.workers.split(",")):
            found.append(measure(harness, partitions, n_workers, pd.read_parquet(known)))
            print(json.dumps(found[-1]), flush=True)
    path = arguments.work / "on_cluster.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"on a cluster: {path}")


if __name__ == "__main__":
    main()
