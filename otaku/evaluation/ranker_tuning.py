"""Search the trees of the relevance head on validation users, and log a search to MLflow."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otaku.evaluation.harness import EvaluationHarness
from recsys.evaluation.tuning import METRIC, OnTrial, ignore_trial, search
from recsys.ranking.joined_head import train_joined_head
from recsys.recommender.fitting import train_heads
from recsys.recommender.retriever import RANKER
from recsys.retrieval.spec import Range
from recsys.storage.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPACE: Final[Mapping[str, Range]] = {
    "learning_rate": Range(0.02, 0.1, True),
    "num_leaves": Range(7, 95, True),
    "min_data_in_leaf": Range(5, 400, True),
    "feature_fraction": Range(0.4, 1.0),
    "lambda_l2": Range(0.1, 20.0, True),
    "lambdarank_truncation_level": Range(10, 60),
}


def tune_ranker(
    harness: EvaluationHarness, *, n_trials: int, seed: int, journal: Path, on_trial: OnTrial = ignore_trial
) -> dict[str, Any]:
    """Search the parameters of the relevance head's boosters; candidates are featurised once for all trials.

    Parameters
    ----------
    harness
        Its evaluation set are validation users.
    n_trials, journal, on_trial
        As in `recsys.evaluation.tuning.tune`, and so is what is returned.
    """
    preset, head = harness.preset, harness.preset.relevance
    n_threads, training_data = harness.inputs.n_threads, harness.training_data
    fitted = train_heads(training_data, preset, seed=harness.inputs.seed, n_threads=n_threads).recommender

    def measure(params: Mapping[str, Any]) -> float:
        """Train with some parameters and return NDCG@10 on validation users."""
        trained = train_joined_head(
            replace(preset, relevance=replace(head, **params)).list_members(),
            training_data.train.schema,
            training_data.train.relevance,
            training_data.validation.relevance,
            seed=harness.inputs.seed,
            n_threads=n_threads,
        )
        model = replace(fitted, ranker=replace(fitted.ranker, relevance=trained.booster))
        return float(np.nanmean(harness.evaluate(RANKER, model).metrics[METRIC]))

    defaults = {name: asdict(head)[name] for name in SPACE}
    return search(RANKER, SPACE, defaults, measure, n_trials=n_trials, seed=seed, journal=journal, on_trial=on_trial)


def log_study(registry: Registry, name: str, found: Mapping[str, Any], seed: int) -> str:
    """Log a search to MLflow: best parameters, every trial, a plot; the same search again is the same run.

    Returns
    -------
    The key of the run.
    """
    content = json.dumps([name, seed, found["trials"]], sort_keys=True)
    run_key = f"tune-{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    run_id = registry.start_run(run_key, tags={"kind": "tuning"})
    values = {"best": found["value"], "default": found["default_value"], "seconds": found["seconds"]}
    registry.log(
        run_id,
        params={
            "model": name,
            "metric": found["metric"],
            "seed": seed,
            "n_trials": found["n_trials"],
            **found["params"],
        },
        metrics={key: value for key, value in values.items() if value is not None},
        figures={"trials.png": plot_trials(found)},
        artifacts={"trials.json": json.dumps(found, indent=1).encode()},
    )
    registry.finish_run(run_id)
    return run_key


def plot_trials(found: Mapping[str, Any]) -> "Figure":
    """Draw the value of every trial and the best so far."""
    from matplotlib.figure import Figure

    values = [trial["value"] for trial in found["trials"]]
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    numbers = range(1, len(values) + 1)
    axes.plot(numbers, values, "o", color="#3b6ea5", label="trial")
    axes.step(numbers, np.maximum.accumulate(values), where="post", color="#a33c00", label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(f"{found['metric']} of validation users")
    axes.legend(frameon=False)
    return figure
