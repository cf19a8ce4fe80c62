"""The first stage on a Dask cluster beside one process: equality, quality, seconds, peak of memory per worker.

    python benchmarks/cluster_fit.py [--data DIR] [--users N --items M --ratings R] [--workers 2,4] [--models a,b]
        [--sums-only [--titles N]] [--output FILE.json]

DIR holds a data set that `otaku ingest` reads; without it an invented one of the given size is written. One process
fits the models on all training users first; then clusters of so many workers of this machine, one thread each, do.
`--sums-only` measures the sums over users alone, products for the N titles with most ratings, whose memory should not
grow with the users.

Exits with 1 if weights of EASE differ by more than 1e-6, or the NDCG@10 of a model leaves the 95 % interval of the
difference to the single process (a paired bootstrap over test users). EASE keeps the largest weights of a title: where
both keep others, those must be as large.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from parts.measuring import read_peak
from parts.reporting import build_table
from rich.console import Console

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sample_world import write_sample_world
from recsys.data.sources.reading import read_source
from recsys.data.splits import TEST, TRAIN, select_group
from recsys.data.users import build_users
from recsys.distributed.cluster import open_cluster
from recsys.distributed.fitting import cross_fit_on_cluster, sum_counts
from recsys.distributed.partitions import Partitions, write_partitions
from recsys.distributed.sums import count_fold, multiply_fold, sum_partitions
from recsys.evaluation.evaluate import evaluate_generator
from recsys.evaluation.evaluation_set import EvaluationData, build_evaluation_set
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.first_stage import FirstStage, fit_first_stage
from recsys.retrieval.registry import make_model
from recsys.retrieval.spec import ModelInputs

LARGEST_DIFFERENCE: Final = 1e-6
DRAWS: Final = 2_000


def make_models(names: list[str]) -> Callable[[], list[CandidateGenerator]]:
    """Return what makes unfitted models."""
    return lambda: [make_model(name, ModelInputs()) for name in names]


def fit_alone(folder: str, names: list[str]) -> tuple[FirstStage, dict[str, float]]:
    """Fit in this process, whose peak includes the data."""
    partitions = Partitions(folder, len(list(Path(folder, "ratings").iterdir())))
    tables = [partitions.read_training(number).table for number in range(partitions.n_partitions)]
    import pandas as pd
    from threadpoolctl import threadpool_limits

    ratings = Interactions(pd.concat(tables)).to_matrix(partitions.read_catalog())
    started = time.perf_counter()
    with threadpool_limits(1):
        stage = fit_first_stage(ratings, partitions.read_catalog(), make_models(names))
    seconds = time.perf_counter() - started
    return stage, {"seconds": seconds, "cpu_seconds": time.process_time(), "peak_mib": read_peak()}


def fit_on_workers(partitions: Partitions, names: list[str], n_workers: int) -> tuple[FirstStage, dict[str, Any]]:
    """Fit on so many new workers."""
    with open_cluster(None, n_workers=n_workers) as client:
        client.wait_for_workers(n_workers)
        before = list(client.run(read_peak).values())
        started = time.perf_counter()
        stage = next(cross_fit_on_cluster(client, partitions, make_models(names)))
        seconds = time.perf_counter() - started
        return stage, {
            "workers": n_workers,
            "seconds": seconds,
            "cpu_seconds": sum(client.run(time.process_time).values()),
            "peak_mib": list(client.run(read_peak).values()),
            "idle_mib": before,
        }


def sum_on_workers(partitions: Partitions, n_workers: int, n_titles: int) -> dict[str, Any]:
    """Sum counts and products of one fold on so many new workers."""
    with open_cluster(None, n_workers=n_workers) as client:
        client.wait_for_workers(n_workers)
        before = list(client.run(read_peak).values())
        started = time.perf_counter()
        counts = client.gather([sum_partitions(client, count_fold, partitions, fold) for fold in range(N_FOLDS)])
        frequent = np.sort(np.argsort(-sum_counts(counts, None).n_ratings, kind="stable")[:n_titles])
        counted = time.perf_counter() - started
        total = sum_partitions(client, multiply_fold, partitions, 0, frequent, 0.3)
        total.result()
        seconds = time.perf_counter() - started
        return {
            "workers": n_workers,
            "partitions": partitions.n_partitions,
            "frequent": len(frequent),
            "count_seconds": counted,
            "seconds": seconds,
            "peak_mib": list(client.run(read_peak).values()),
            "idle_mib": before,
        }


def compare_ease(ours: FirstStage, theirs: FirstStage) -> dict[str, float]:
    """Compare weights of EASE, of which a fit keeps the largest of each column.

    Returns
    -------
    The largest difference of a weight that both have; how many only one has, and by how much such a weight exceeds the
    smallest that the other has kept instead, at most.
    """
    one, other = (stage.models["ease"].weights_.tocsc() for stage in (ours, theirs))  # type: ignore[attr-defined]
    shared = (one != 0).multiply(other != 0)
    found = {"largest": float(abs(one - other).multiply(shared).max()), "only_one": 0.0, "largest_excess": 0.0}
    for mine, its in ((one, other), (other, one)):
        alone = abs(mine - mine.multiply(shared)).tocoo()
        alone.eliminate_zeros()
        sizes = abs(its)
        for column, size in zip(alone.col.tolist(), alone.data.tolist(), strict=True):
            kept = sizes.data[sizes.indptr[column] : sizes.indptr[column + 1]]
            found["largest_excess"] = max(found["largest_excess"], size - float(kept.min(initial=np.inf)))
        found["only_one"] += alone.nnz
    return found


def evaluate(stage: FirstStage, interactions: Interactions, catalog: Catalog) -> dict[str, npt.NDArray[np.float64]]:
    """Compute the NDCG@10 of every test user with a liked target, by model."""
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    data = EvaluationData(catalog, interactions, np.empty(0, dtype=np.int64), "benchmark")
    eval_set = build_evaluation_set(data, training)
    return {name: evaluate_generator(model, eval_set).metrics["ndcg_at_10"] for name, model in stage.models.items()}


def compare_quality(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Compare per-user values: means and the 95 % interval of the difference."""
    defined = ~np.isnan(one)
    differences = (one - other)[defined]
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(DRAWS, len(differences)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    return {
        "ndcg_at_10": float(one[defined].mean()),
        "single": float(other[defined].mean()),
        "interval": [low, high],
        "is_equal": bool(low <= 0 <= high),
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure one data set."""
    data = options.data or folder / "data"
    if options.data is None:
        write_sample_world(data, n_users=options.users, n_items=options.items, n_ratings=options.ratings, seed=0)
    source = read_source(data)
    catalog = Catalog(source.items)
    interactions = Interactions(source.ratings[source.ratings["item_id"].isin(catalog.item_ids)])
    partitions = write_partitions(interactions, catalog, str(folder / "partitions"))
    results: dict[str, Any] = {
        "users": len(interactions.user_ids),
        "ratings": len(interactions),
        "titles": len(catalog),
        "test_users": len(build_users(select_group(interactions, TEST), catalog).user_ids),
    }
    if options.sums_only:
        return results | {
            "sums": [sum_on_workers(partitions, n_workers, options.titles) for n_workers in options.workers]
        }
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        alone, found_alone = pool.submit(fit_alone, str(folder / "partitions"), options.models).result()
    results |= {"single": found_alone, "clusters": []}
    expected = evaluate(alone, interactions, catalog)
    for n_workers in options.workers:
        stage, found = fit_on_workers(partitions, options.models, n_workers)
        quality = evaluate(stage, interactions, catalog)
        found["quality"] = {name: compare_quality(values, expected[name]) for name, values in quality.items()}
        if "ease" in stage.models:
            found["ease"] = compare_ease(stage, alone)
        results["clusters"].append(found)
        sys.stderr.write(f"{json.dumps(found)}\n")
    return results


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--ratings", type=int, default=200_000)
    parser.add_argument("--workers", type=lambda text: list(map(int, text.split(","))), default=[2, 4])
    parser.add_argument(
        "--models", type=lambda text: text.split(","), default=["ease-mixture", "als", "item-knn", "popular"]
    )
    parser.add_argument("--sums-only", action="store_true")
    parser.add_argument("--titles", type=int, default=4_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as folder:
        results = measure(options, Path(folder))
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))
    console = Console(width=120)
    if options.sums_only:
        table = build_table("Sums over users", ["workers", "partitions", "seconds", "largest peak MiB"])
        for row in results["sums"]:
            table.add_row(
                *map(str, (row["workers"], row["partitions"])), f"{row['seconds']:.1f}", f"{max(row['peak_mib']):.0f}"
            )
        console.print(table)
        return 0
    table = build_table("The first stage", ["workers", "seconds", "peak MiB each", "largest difference of EASE"])
    table.add_row("none", f"{results['single']['seconds']:.1f}", f"{results['single']['peak_mib']:.0f}", "")
    is_equal = True
    for row in results["clusters"]:
        ease = row.get("ease", {})
        difference = max(ease.get("largest", 0.0), ease.get("largest_excess", 0.0))
        peaks = " ".join(f"{peak:.0f}" for peak in row["peak_mib"])
        table.add_row(str(row["workers"]), f"{row['seconds']:.1f}", peaks, f"{difference:.1e}")
        is_equal &= difference <= LARGEST_DIFFERENCE and all(found["is_equal"] for found in row["quality"].values())
    console.print(table)
    for name, found in results["clusters"][-1]["quality"].items():
        console.print(f"{name}: NDCG@10 {found['ndcg_at_10']:.4f}, of one process {found['single']:.4f}")
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
