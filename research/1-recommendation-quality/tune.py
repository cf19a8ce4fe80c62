"""Tune the baselines on validation people, each with the same number of trials; resumable.

    python research/1-recommendation-quality/tune.py DIRECTORY WORK --models als,ease,item_knn --trials 20

Finished trials stand in WORK/trials.journal and are not run again. The end is WORK/tuned.json, which `measure.py
--params` and `otaku evaluate --params` read.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import load_world

from recsys.data.splits import TRAIN, VALIDATION, select_group
from recsys.evaluation.jury import summon_jury
from recsys.evaluation.tuning import SPACES, tune


def main() -> None:
    """Tune the models one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default="als,ease,item_knn")
    parser.add_argument("--trials", type=int, default=20, help="trials per model, those of earlier runs included")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = arguments.models.split(",")
    if unknown := sorted(set(names) - set(SPACES)):
        parser.error(f"nothing to tune about {', '.join(unknown)}; choose among {', '.join(SPACES)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    world = load_world(arguments.directory, arguments.work)
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    jury = summon_jury(world, training, VALIDATION)
    path = arguments.work / "tuned.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    start = time.perf_counter()

    def say(number: int, value: float, params: Mapping[str, Any]) -> None:
        spelled = ", ".join(f"{key} {np.format_float_positional(v, precision=4)}" for key, v in params.items())
        print(f"{time.perf_counter() - start:7.0f} s  trial {number}: {value:.4f}  {spelled}", flush=True)

    for name in names:
        print(f"{name}: {len(jury.people.user_ids)} validation people, {arguments.trials} trials", flush=True)
        found[name] = tune(
            name,
            training,
            world.catalog,
            jury,
            n_trials=arguments.trials,
            seed=arguments.seed,
            journal=arguments.work / "trials.journal",
            on_trial=say,
        )
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(
            f"{name}: {found[name]['default_value']} -> {found[name]['value']:.4f} {found[name]['params']}", flush=True
        )


if __name__ == "__main__":
    main()
