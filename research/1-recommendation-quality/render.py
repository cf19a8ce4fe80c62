"""Render what `measure.py` found: `python research/1-recommendation-quality/render.py [RESULTS [FOLDER]]`.

Without arguments the results.json beside this file becomes the README.md beside this file. What stands beside it is
rendered as well: splits.json, learning_curve.json, list_rules.json and spread.json, as the scripts beside this one
write them, and ablations.json, the results of another run of `measure.py`, of the ranker and of rankers that lack a
group of features.
Hand-written findings go into findings.md of that folder and stand above the tables; every number below comes from the
results.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib import rcParams
from matplotlib.figure import Figure
from tables import (
    ABLATED,
    AT_10,
    BEYOND,
    NAMES,
    RANKER,
    Results,
    format_difference,
    format_metric,
    select,
    tabulate,
    tabulate_differences,
    tabulate_metrics,
    tabulate_slices,
)

from recsys.evaluation.comparison import DISCOVERY, LABELS, PRIMARY
from recsys.evaluation.comparison_plots import plot_differences, plot_metrics, plot_slices
from recsys.evaluation.reliability import ReliabilityBin
from recsys.evaluation.training_plots import plot_reliability

HERE: Final = Path(__file__).parent


def describe_lead(models: Mapping[str, Any]) -> str:
    """Say how far the recommender is from the best single model, in all slices too."""
    singles = [name for name in models if name not in (RANKER, "original")]
    if RANKER not in models or not singles:
        return ""
    best = singles[0]
    found = models[RANKER]["versus"][best]["all"]
    sentence = (
        f"Against the best single model, {NAMES.get(best, best)}, NDCG@10 changes by "
        f"{format_difference(found[PRIMARY])}, paired user by user over {found[PRIMARY]['n']:,} users."
    )
    parts = [
        f"{name} {format_difference(part[PRIMARY])}"
        for name, part in models[RANKER]["versus"][best].items()
        if name != "all" and PRIMARY in part
    ]
    return sentence + (f" By slice: {'; '.join(parts)}." if parts else "")


def describe_splits(results: Results) -> str:
    """Say what other test users have to say."""
    splits = results.get("splits")
    if not splits:
        return ""
    parts = [
        f"""## On other users

The usual test users are few, so the same was done {splits["n_splits"]} times: each time another tenth of
the users is the evaluation set and the others train (`crossvalidate.py`). No user is evaluated on twice, and those that
everything was tuned on never are: {splits["n_users"]:,} evaluation users in all.""",
        tabulate(
            ["NDCG@10", "everybody", *(f"split {split}" for split in range(splits["n_splits"]))],
            [
                [NAMES.get(name, name), f"{model['mean']:.4f}", *(f"{mean:.4f}" for mean in model["by_split"])]
                for name, model in splits["models"].items()
            ],
        ),
    ]
    for name, model in splits["models"].items():
        if model["versus"] is not None:
            lifts = ", ".join(f"{100 * found[PRIMARY]['lift']:+.1f} %" for found in model["versus_by_split"])
            groups = "; ".join(
                f"{group} {format_difference(found[PRIMARY])}" for group, found in model["versus"].items()
            )
            discovery = format_difference(model["versus"]["all"][f"{DISCOVERY}{PRIMARY}"])
            other = NAMES.get(splits["reference"], splits["reference"])
            parts.append(
                f"{NAMES.get(name, name)} minus {other}, paired user by user: {groups}. Discovery: {discovery}. "
                f"Split by split: {lifts}."
            )
    return "\n\n".join(parts)


def describe_spread(results: Results) -> str:
    """Show how far trainings that differ by a seed lie from one another."""
    spread = results.get("spread")
    if not spread:
        return ""
    rows = [
        [
            name,
            f"{sum(found['means']) / spread['n_seeds']:.4f}",
            f"{min(found['means']):.4f} to {max(found['means']):.4f}",
            f"{found['deviation']:.4f}",
            f"{found['by_user']:.4f}",
        ]
        for name, found in spread["heads"].items()
    ]
    return f"""## From training to training

The trees of the relevance head, trained with {spread["n_seeds"]} seeds on the same rows (`spread.py`): NDCG@10 of
{spread["n_users"]:,} test users, its mean, range and standard deviation over trainings, and the standard deviation of a
single user's value (root mean square).

{tabulate(["", "mean", "range", "deviation", "of a user"], rows)}"""


def describe_curve(results: Results) -> str:
    """Show what more training users bring."""
    curve = results.get("learning_curve")
    if not curve:
        return ""
    names = list(curve["shares"][0]["models"])
    rows = [
        [
            f"{found['share']} %: {found['n_training_users']:,} users",
            *(format_metric(found["models"][name]["mean"]) for name in names),
            *(format_difference(found["models"][name]["versus"]) for name in names[1:]),
        ]
        for found in curve["shares"]
    ]
    first, other = names[0], NAMES.get(curve["reference"], curve["reference"])
    head = ["trained on", *(NAMES.get(name, name) for name in names)]
    head += [f"{NAMES.get(name, name)} minus {other}" for name in names if name != first]
    return f"""## How good with how much data

The same test users, and models that were trained on a part of the training users (`learning_curve.py`); NDCG@10.

{tabulate(head, rows)}{curve.get("note", "")}"""


def describe_list_rules(results: Results) -> str:
    """Show what the order of seasons, the sliders and groups do to lists."""
    rules = results.get("list_rules")
    if not rules:
        return ""
    settings = {name: found for name, found in rules["settings"].items() if "metrics" in found}
    metrics = (PRIMARY, f"{DISCOVERY}{PRIMARY}")
    rows = [
        [
            name,
            *(format_metric(found["metrics"][metric]) for metric in metrics),
            format_difference(found["versus"][PRIMARY]) if found["versus"][PRIMARY]["t"] is not None else "-",
            format_metric(found["coverage"]),
            f"{found['popularity_rank']['mean']:,.0f}",
        ]
        for name, found in settings.items()
    ]
    head = ["lists", *(LABELS[metric] for metric in metrics), "NDCG@10, difference", "coverage", "mean popularity rank"]
    monotone = rules["settings"]["monotone"]
    groups = rules["groups"]
    shared = [
        [name, *(cell for size in groups["sizes"].values() for cell in map(format_metric, size[name].values()))]
        for name in next(iter(groups["sizes"].values()))
    ]
    columns = [f"{size} users, {which}" for size in groups["sizes"] for which in ("mean", "least")]
    return f"""## Rules of lists

The tables above rank by the scores alone. Lists of the service also keep the order of seasons, and have sliders
(`list_rules.py`; {rules["n_users"]:,} test users, one hiding). Ratings are hidden at random, so that NDCG@10 rewards a
list that completes what is watched; discovery shows the other side, here among the ten places of a list. Along the
slider of popularity the mean popularity rank falls monotonically for {100 * monotone["share"]:.1f} % of the users.

{tabulate(head, rows)}

Lists for {groups["n_groups"]} groups of each size, drawn at random; NDCG@10 of the members for the one list that they
get, on average and of the member who likes it least. Nothing that a member has watched can be listed.

{tabulate(["list", *columns], shared)}"""


def describe_costs(models: Mapping[str, Any]) -> str:
    """Show what fitting and evaluating took."""
    wanted = {"fit_seconds": 1, "evaluate_seconds": 1, "fit_peak_bytes": 2**30, "process_peak_bytes": 2**30}
    rows = [
        [
            NAMES.get(name, name),
            *(
                f"{model['facts'][key] / unit:,.{0 if unit == 1 else 2}f}" if key in model["facts"] else "-"
                for key, unit in wanted.items()
            ),
        ]
        for name, model in models.items()
    ]
    return tabulate(["", "training, s", "evaluating, s", "peak of training, GB", "peak of the process, GB"], rows)


def describe_tuning(results: Results) -> str:
    """Show what tuning on validation users brought."""
    tuning = {name: found for name, found in results.get("tuning", {}).items() if "trials" in found}
    if not tuning:
        return "All models ran with their defaults."
    rows = [
        [
            NAMES.get(name, name),
            str(found["n_trials"]),
            f"{found['default_value']:.4f}" if found["default_value"] is not None else "-",
            f"{found['value']:.4f}",
            ", ".join(f"{key} {value:.4g}" for key, value in found["params"].items()),
            f"{found['seconds']:,.0f}",
        ]
        for name, found in tuning.items()
    ]
    head = ["", "trials", "NDCG@10 of the default", "of the best", "parameters", "seconds"]
    return "On validation users, the default first:\n\n" + tabulate(head, rows)


def describe_ablation(results: Results) -> str:
    """Show what each feature group is worth: what is lost without it."""
    results = results.get("ablations", results)
    ablated = select(results, ablated=True)
    rows = [
        [
            name.removeprefix(ABLATED),
            *(format_difference(model["versus"][RANKER]["all"].get(m)) for m in (PRIMARY, "mae")),
        ]
        for name, model in ablated.items()
    ]
    if not rows:
        return ""
    whole = results["models"][RANKER]["metrics"][PRIMARY]["mean"]
    intro = (
        "Trained again without one group of features, from the same first stage; a loss is what the group was worth. "
        f"With all groups NDCG@10 was {whole:.3f} in this training."
    )
    table = tabulate(["without", LABELS[PRIMARY], LABELS["mae"]], rows)
    return f"## What each feature group is worth\n\n{intro}\n\n{table}"


def describe_cold(results: Results) -> str:
    """Show the cold-start slices."""
    if "cold" not in results:
        return ""
    models = results["cold"]["models"]
    corners = list(dict.fromkeys(corner for found in models.values() for corner in found))
    rows = [
        [NAMES.get(name, name), *(format_metric(found.get(corner, {}).get(PRIMARY)) for corner in corners)]
        for name, found in models.items()
    ]
    unrated = results["unrated"]
    metrics = list(dict.fromkeys(metric for found in unrated["models"].values() for metric in found))
    hidden = [
        [NAMES.get(name, name), *(format_metric(found.get(metric)) for metric in metrics)]
        for name, found in unrated["models"].items()
    ]
    return f"""## Cold-start slices

NDCG@10 of the same users with less and less known of them. Whatever they have watched is left out of every list, known
to the model or not, so that a corner differs in nothing but what is known. Without a history every single model shows
what is popular.

{tabulate(["", *corners], rows)}

Titles that nobody has rated: {unrated["n_hidden"]:,} titles lose all their ratings, and score, rank and audience with
them, before anything is fitted; {unrated["n_users"]:,} users like at least one. Recall of those titles in the whole
catalog, and when only they may be shown:

{tabulate(["", *(metric.replace("_", " ") for metric in metrics)], hidden)}"""


def describe_leaky(results: Results) -> str:
    """Show the original's own protocols, labelled."""
    if "leaky" not in results:
        return ""
    leaky = results["leaky"]
    rows = [
        [line["name"], f"{line['value']:.4f}", "-" if line["published"] is None else f"{line['published']:.4f}"]
        for line in leaky["measures"]
    ]
    settings = ", ".join(f"{key} {value}" for key, value in leaky["settings"].items() if value is not None)
    return f"""## Leaky: the original's own protocols

For side by side only. Nothing here says how good recommendations for new users are: hits are among what the model was
fitted on, or are the question itself. Steps as in `recsys/evaluation/original_protocols.py`, with {settings}; the
published numbers are of another and larger sample.

{tabulate(["protocol (leaky)", "here", "published"], rows)}"""


def write_page(results: Results, findings: str) -> str:
    """Tell the result in Markdown."""
    protocol, models = results["protocol"], select(results, ablated=False)
    discovery = [name for name in LABELS if name.startswith(DISCOVERY)]
    parts = [
        "# 1. Recommendation quality",
        f"""Every model below was fitted on {protocol["n_training_users"]:,} users and evaluated on
{results["n_users"]:,} others, the {protocol["group"]} users, whom nothing was ever fitted or tuned on:
{protocol["n_ratings"]:,} ratings, {protocol["n_items"]:,} titles. A fifth of each user's ratings is hidden; a hidden
rating of 7 or more is a hit; the whole catalog minus the history is ranked. In brackets 95 % bootstrap intervals over
users. The protocol in full: [docs/evaluation.md](../../docs/evaluation.md).""",
        findings.strip(),
        "## Accuracy",
        describe_lead(models),
        tabulate_metrics(models, (*AT_10, "recall_at_100")),
        "![NDCG@10, Recall@10 and Recall@100 with intervals](accuracy.svg)",
        f"Paired with {NAMES.get(results['reference'], results['reference'])}, user by user:",
        tabulate_differences(models, (PRIMARY, "recall_at_10", f"{DISCOVERY}{PRIMARY}"), results["reference"]),
        "![Paired differences of NDCG@10](differences.svg)",
        "## Discovery",
        "Only titles of franchises that the history does not touch, among the targets and in the lists.",
        tabulate_metrics(models, discovery),
        describe_splits(results),
        "## For whom",
        tabulate_slices(models),
        "![NDCG@10 by slice](slices.svg)",
        "## What the lists are like",
        tabulate_metrics(models, BEYOND),
        "![Coverage, novelty, diversity and popularity](lists.svg)",
        "![Predicted and given ratings](calibration.svg)" if results["reliability"].get(RANKER) else "",
        describe_ablation(results),
        describe_cold(results),
        describe_list_rules(results),
        describe_curve(results),
        describe_spread(results),
        "## Tuning",
        describe_tuning(results),
        "## Time and memory",
        "Each model in a process of its own, the data in memory included.",
        describe_costs(models),
        describe_leaky(results),
        f"""Seed {protocol["seed"]}, preset {protocol["preset"]}, data {protocol["digest"][:12]}. To do it again:
`measure.py`, `tune.py` and `render.py` in this folder say how.""",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def draw(results: Results) -> dict[str, Callable[[], Figure]]:
    """Say how each figure is drawn; ablated rankers stay out."""
    shown = {**results, "models": select(results, ablated=False)}
    figures: dict[str, Callable[[], Figure]] = {
        "accuracy": lambda: plot_metrics(shown, (PRIMARY, "recall_at_10", "recall_at_100")),
        "differences": lambda: plot_differences(shown),
        "slices": lambda: plot_slices(shown),
        "lists": lambda: plot_metrics(shown, BEYOND[:4]),
    }
    if bins := results["reliability"].get(RANKER):
        figures["calibration"] = lambda: plot_reliability([ReliabilityBin(**found) for found in bins])
    return figures


def main() -> None:
    """Write the page and its figures."""
    if len(sys.argv) > 3:
        sys.exit(__doc__)
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    results = json.loads(source.read_text(encoding="utf-8"))
    for also in ("splits", "ablations", "learning_curve", "list_rules", "spread"):
        if (beside := source.with_name(f"{also}.json")).exists():
            results[also] = json.loads(beside.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    rcParams["svg.hashsalt"] = "quality"  # the same numbers give the same file
    for name, figure in draw(results).items():
        figure().savefig(folder / f"{name}.svg", metadata={"Date": None})
    findings = folder / "findings.md"
    words = findings.read_text(encoding="utf-8") if findings.exists() else ""
    (folder / "README.md").write_text(write_page(results, words), encoding="utf-8")


if __name__ == "__main__":
    main()
