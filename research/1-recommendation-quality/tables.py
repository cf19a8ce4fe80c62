"""The tables of the report in Markdown: means with intervals, differences, slices."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from recsys.evaluation.comparison import COVERAGE, LABELS, PRIMARY

RANKER: Final = "ranker"
ABLATED: Final = "ranker-without-"
AT_10: Final = ("ndcg_at_10", "recall_at_10", "precision_at_10", "hit_rate_at_10", "reciprocal_rank_at_10")
BEYOND: Final = (COVERAGE, "novelty", "diversity", "popularity_share", "mae")
NAMES: Final = {
    "popular": "popularity",
    "content-genre": "genre TF-IDF",
    "synopsis": "synopsis profile",
    "lightfm": "LightFM, WARP, fold-in",
    "item-knn": "item-kNN",
    "als": "ALS",
    "ease": "EASE",
    "ease-extended": "EASE, extended",
    "ease-mixture": "EASE, three forms",
    "original": "the original's algorithm",
    RANKER: "**this recommender**",
}
Results = Mapping[str, Any]


def select(results: Results, *, ablated: bool) -> dict[str, Any]:
    """Keep the models of the main tables, or the ablated rankers, the best first."""
    chosen = {name: model for name, model in results["models"].items() if name.startswith(ABLATED) == ablated}
    return dict(sorted(chosen.items(), key=lambda entry: -entry[1]["metrics"][PRIMARY]["mean"]))


def format_metric(found: Mapping[str, float] | None, digits: int = 3) -> str:
    """Write a mean with its interval."""
    if found is None:
        return "-"
    return f"{found['mean']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


def format_difference(found: Mapping[str, float] | None) -> str:
    """Write a difference with its interval and the lift."""
    if found is None:
        return "-"
    lift = "" if found["lift"] is None else f", {100 * found['lift']:+.1f} %"
    return f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}){lift}"


def tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out in Markdown, the first column to the left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tabulate_metrics(models: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """Give each model a row and each metric a column."""
    known = [metric for metric in metrics if any(metric in model["metrics"] for model in models.values())]
    rows = [
        [NAMES.get(name, name), *(format_metric(model["metrics"].get(metric)) for metric in known)]
        for name, model in models.items()
    ]
    return tabulate(["", *(LABELS[metric].removesuffix(", discovery") for metric in known)], rows)


def tabulate_differences(models: Mapping[str, Any], metrics: Sequence[str], reference: str) -> str:
    """Pair every model with the reference."""
    rows = [
        [NAMES.get(name, name), *(format_difference(model["differences"].get(metric)) for metric in metrics)]
        for name, model in models.items()
        if name != reference
    ]
    return tabulate(["", *(LABELS[metric] for metric in metrics)], rows)


def tabulate_slices(models: Mapping[str, Any]) -> str:
    """Show NDCG@10 by slice of users."""
    slices = {name: part["n_users"] for model in models.values() for name, part in model["slices"].items()}
    rows = [
        [
            NAMES.get(name, name),
            *(format_metric(model["slices"].get(part, {"metrics": {}})["metrics"].get(PRIMARY)) for part in slices),
        ]
        for name, model in models.items()
    ]
    return tabulate(["", *(f"{name} ({n_users:,} users)" for name, n_users in slices.items())], rows)
