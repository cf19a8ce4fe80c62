"""Evaluate a list of models under the held-out protocol, and in the cold-start slices."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from otaku.evaluation.harness import VERSION, EvaluationHarness, Model
from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.cold_start import build_cold_start_slices, build_unrated_evaluation_set, hide_titles, summarise
from recsys.evaluation.comparison import Result, compare
from recsys.evaluation.comparison_plots import plot_differences, plot_metrics, plot_slices
from recsys.evaluation.evaluate import EvaluationResult
from recsys.evaluation.evaluation_set import EvaluationSet
from recsys.exceptions import EvaluationError
from recsys.types import Mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACCURACY = ("ndcg_at_10", "recall_at_10", "recall_at_100")
BEYOND = ("catalog_coverage", "novelty", "diversity", "popularity_share")


@dataclass
class Evaluation:
    """What an evaluation found so far, JSON-ready, with the per-user values behind it."""

    protocol: dict[str, Any]
    results: list[Result] = field(default_factory=list)
    comparison: dict[str, Any] = field(default_factory=dict)
    cold: dict[str, Any] | None = None
    unrated: dict[str, Any] | None = None
    leaky: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the per-user values; what was not asked for is left out."""
        parts = {"cold": self.cold, "unrated": self.unrated, "leaky": self.leaky}
        known = {name: part for name, part in parts.items() if part is not None}
        return {"protocol": self.protocol, **self.comparison, **known}

    def per_user(self) -> pd.DataFrame:
        """Return one row per model and user."""
        return pd.concat([result.table.assign(model=result.name) for result in self.results], ignore_index=True)

    def draw(self) -> dict[str, "Figure"]:
        """Draw means, slices and paired differences, by file name."""
        figures = {
            "accuracy": plot_metrics(self.comparison, ACCURACY),
            "lists": plot_metrics(self.comparison, BEYOND),
            "slices": plot_slices(self.comparison),
        }
        if len(self.results) > 1:
            figures["differences"] = plot_differences(self.comparison)
        return figures


def evaluate_heldout(
    harness: EvaluationHarness,
    names: Sequence[str],
    reference: str,
    *,
    cold: bool,
    describe: Mapping[str, Any],
    save: Path | None = None,
) -> Evaluation:
    """Evaluate models one after another; only one is in memory at a time.

    Parameters
    ----------
    describe
        Facts about the data that belong into the report.
    save
        Where each model is stored as soon as it is fitted, in a folder of its name; None to store none.

    Raises
    ------
    EvaluationError
        If a model does not exist, or the reference is none of the models.
    """
    spelled, against = [harness.check(name) for name in names], harness.check(reference)
    if against not in spelled:
        raise EvaluationError(f"the reference {against!r} is not among the models; choose among {', '.join(spelled)}")
    facts = {
        "n_items": len(harness.world.catalog),
        "n_training_users": harness.eval_set.n_training_users,
        "n_test_users": len(harness.eval_set.users.user_ids),
        "seed": harness.inputs.seed,
        **describe,
    }
    evaluation = Evaluation({"name": "heldout", **facts})
    slices: dict[str, Any] = {}
    for done, name in enumerate(spelled):
        harness.on_progress("models", done, len(spelled))
        start = time.perf_counter()
        model = harness.make(name)
        made = time.perf_counter()
        if save is not None:
            (save / name).mkdir(parents=True, exist_ok=True)
            model.save(save / name)
        result = harness.evaluate(name, model)
        seconds = {"fit_seconds": made - start, "evaluate_seconds": time.perf_counter() - made}
        evaluation.results.append(Result.of(result, harness.eval_set, seconds))
        if cold:
            slices[name] = evaluate_cold_start(harness, name, model)
    harness.on_progress("models", len(spelled), len(spelled))
    evaluation.comparison = compare(evaluation.results, against, seed=harness.inputs.seed)
    if cold:
        evaluation.cold = {"models": slices}
        evaluation.unrated = evaluate_unrated(harness, [name for name in spelled if not VERSION.fullmatch(name)])
    return evaluation


def evaluate_cold_start(harness: EvaluationHarness, name: str, model: Model) -> dict[str, Any]:
    """Evaluate a model on users with shorter and shorter histories."""
    return {
        slice_name: dict(summarise(harness.evaluate(name, model, eval_set), seed=harness.inputs.seed))
        for slice_name, eval_set in build_cold_start_slices(harness.eval_set).items()
    }


def evaluate_unrated(harness: EvaluationHarness, names: Sequence[str]) -> dict[str, Any]:
    """Fit models without the ratings of some titles and see whether they recommend those nevertheless."""
    world, hidden = hide_titles(harness.world)
    eval_set = build_unrated_evaluation_set(harness.eval_set, hidden)
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    poorer = replace(harness, world=world, training=training)
    found = {name: evaluate_on_unrated(poorer, name, eval_set, hidden) for name in names}
    return {"n_hidden": int(hidden.sum()), "n_users": len(eval_set.users.user_ids), "models": found}


def evaluate_on_unrated(harness: EvaluationHarness, name: str, eval_set: EvaluationSet, hidden: Mask) -> dict[str, Any]:
    """Evaluate one model on hidden titles: among the whole catalog, and among the hidden titles alone."""
    model = harness.make(name)

    def spell(result: EvaluationResult, suffix: str) -> dict[str, Any]:
        """Summarise a result, its metrics named with a suffix."""
        kept = summarise(result, seed=harness.inputs.seed)
        return {f"{metric}{suffix}": value for metric, value in kept.items() if metric != "ndcg_at_10"}

    whole = harness.evaluate(name, model, eval_set)
    return spell(whole, "") | spell(harness.evaluate(name, model, eval_set, allowed=hidden), "_among_hidden")


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the figures as SVG files that depend on the numbers alone."""
    from matplotlib import rc_context

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context({"svg.hashsalt": "evaluation"}):
        for name, figure in evaluation.draw().items():
            paths.append(folder / f"{name}.svg")
            figure.savefig(paths[-1], metadata={"Date": None})
    return paths


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write everything but the per-user values."""
    path.write_text(json.dumps(evaluation.to_dict(), indent=1) + "\n", encoding="utf-8")


def compute_run_key(evaluation: Evaluation) -> str:
    """Name an evaluation by models and data, so that a repetition is found again."""
    content = json.dumps([evaluation.protocol, evaluation.comparison["reference"], *evaluation.comparison["models"]])
    return f"evaluate-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
