"""Tune models on validation users, the baselines each with the same number of trials; resumable.

    python research/1-recommendation-quality/tune.py DIRECTORY WORK --models als,ease,item-knn --trials 20
    python research/1-recommendation-quality/tune.py DIRECTORY WORK --models ranker --trials 10 --mlflow

Finished trials stand in WORK/trials.journal and are not run again. The end is WORK/tuned.json, which `measure.py
--params` and `otaku evaluate --params` read; what is found about the ranker belongs into its preset, in
recsys/ranking/params.py. With `--mlflow` each search is a run in the registry's experiment as well (`otaku up` first).
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import load_world, open_harness

from otaku.console import running_settings
from otaku.evaluation.ranker_tuning import log_study, tune_ranker
from recsys.connections import open_registry
from recsys.data.splits import TRAIN, VALIDATION, select_group
from recsys.evaluation.evaluation_set import build_evaluation_set
from recsys.evaluation.tuning import OnTrial, list_tunable, tune
from recsys.recommender.retriever import RANKER


def search_model(name: str, arguments: argparse.Namespace, say: OnTrial) -> dict[str, Any]:
    """Search the parameters of one model."""
    journal, n_trials, seed = arguments.work / "trials.journal", arguments.trials, arguments.seed
    if name == RANKER:
        return tune_ranker(open_harness(arguments), n_trials=n_trials, seed=seed, journal=journal, on_trial=say)
    world = load_world(arguments.directory, arguments.work)
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    eval_set = build_evaluation_set(world, training, VALIDATION)
    return tune(name, training, world.catalog, eval_set, n_trials=n_trials, seed=seed, journal=journal, on_trial=say)


def main() -> None:
    """Tune the models one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default="als,ease,item-knn")
    parser.add_argument("--trials", type=int, default=20, help="trials per model, those of earlier runs included")
    parser.set_defaults(group=VALIDATION, params=None, preset="default", max_users=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of the ranker's trees")
    parser.add_argument("--mlflow", action="store_true", help="keep the searches in MLflow")
    arguments = parser.parse_args()
    names, tunable = arguments.models.split(","), (*list_tunable(), RANKER)
    if unknown := sorted(set(names) - set(tunable)):
        parser.error(f"nothing to tune about {', '.join(unknown)}; choose among {', '.join(tunable)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    path = arguments.work / "tuned.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    start = time.perf_counter()

    def say(number: int, value: float, params: Mapping[str, Any]) -> None:
        formatted = ", ".join(f"{key} {np.format_float_positional(v, precision=4)}" for key, v in params.items())
        print(f"{time.perf_counter() - start:7.0f} s  trial {number}: {value:.4f}  {formatted}", flush=True)

    registry = open_registry(running_settings()) if arguments.mlflow else None
    for name in names:
        print(f"{name}: {arguments.trials} trials", flush=True)
        found[name] = search_model(name, arguments, say)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(
            f"{name}: {found[name]['default_value']} -> {found[name]['value']:.4f} {found[name]['params']}", flush=True
        )
        if registry is not None:
            print(f"{name}: run {log_study(registry, name, found[name], arguments.seed)}", flush=True)


if __name__ == "__main__":
    main()
