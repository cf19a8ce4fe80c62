"""Judge a list of models under the held-out protocol, and in the cold corners."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from otaku.evaluation.bench import Bench, Model
from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.cold import build_corners, hide_titles, summarise, summon_unrated_jury
from recsys.evaluation.comparison import Result, compare
from recsys.evaluation.comparison_plots import plot_differences, plot_metrics, plot_slices
from recsys.evaluation.judging import Judgement
from recsys.evaluation.jury import Jury
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


def judge_heldout(
    bench: Bench, names: Sequence[str], reference: str, *, cold: bool, describe: Mapping[str, Any]
) -> Evaluation:
    """Judge models one after another; only one is in memory at a time.

    Parameters
    ----------
    describe
        Facts about the data that belong into the report.

    Raises
    ------
    EvaluationError
        If a model does not exist, or the reference is none of the models.
    """
    spelled, against = [bench.check(name) for name in names], bench.check(reference)
    if against not in spelled:
        raise EvaluationError(f"the reference {against!r} is not among the models; choose among {', '.join(spelled)}")
    facts = {
        "n_items": len(bench.world.catalog),
        "n_training_users": bench.jury.n_training_users,
        "n_test_users": len(bench.jury.people.user_ids),
        "seed": bench.materials.seed,
        **describe,
    }
    evaluation = Evaluation({"name": "heldout", **facts})
    corners: dict[str, Any] = {}
    for done, name in enumerate(spelled):
        bench.on_progress("models", done, len(spelled))
        start = time.perf_counter()
        model = bench.make(name)
        made = time.perf_counter()
        judgement = bench.judge(name, model)
        seconds = {"fit_seconds": made - start, "judge_seconds": time.perf_counter() - made}
        evaluation.results.append(Result.of(judgement, bench.jury, seconds))
        if cold:
            corners[name] = judge_corners(bench, name, model)
    bench.on_progress("models", len(spelled), len(spelled))
    evaluation.comparison = compare(evaluation.results, against, seed=bench.materials.seed)
    if cold:
        evaluation.cold = {"models": corners}
        evaluation.unrated = judge_unrated(bench, [name for name in spelled if not name.startswith("v")])
    return evaluation


def judge_corners(bench: Bench, name: str, model: Model) -> dict[str, Any]:
    """Judge a model by people of whom less and less is known."""
    return {
        corner: dict(summarise(bench.judge(name, model, jury), seed=bench.materials.seed))
        for corner, jury in build_corners(bench.jury).items()
    }


def judge_unrated(bench: Bench, names: Sequence[str]) -> dict[str, Any]:
    """Fit models without the ratings of some titles and see whether they recommend those nevertheless."""
    world, hidden = hide_titles(bench.world)
    jury = summon_unrated_jury(bench.jury, hidden)
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    poorer = replace(bench, world=world, training=training)
    found = {name: judge_on_unrated(poorer, name, jury, hidden) for name in names}
    return {"n_hidden": int(hidden.sum()), "n_users": len(jury.people.user_ids), "models": found}


def judge_on_unrated(bench: Bench, name: str, jury: Jury, hidden: Mask) -> dict[str, Any]:
    """Judge one model on hidden titles: among the whole catalog, and among the hidden titles alone."""
    model = bench.make(name)

    def spell(judgement: Judgement, suffix: str) -> dict[str, Any]:
        kept = summarise(judgement, seed=bench.materials.seed)
        return {f"{metric}{suffix}": value for metric, value in kept.items() if metric != "ndcg_at_10"}

    whole = bench.judge(name, model, jury)
    return spell(whole, "") | spell(bench.judge(name, model, jury, allowed=hidden), "_among_hidden")


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
    """Name an evaluation by what was judged on what, so that a repetition is found again."""
    content = json.dumps([evaluation.protocol, evaluation.comparison["reference"], *evaluation.comparison["models"]])
    return f"evaluate-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
