"""An evaluation as tables on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from recsys.evaluation.comparison import COVERAGE, DISCOVERY, LABELS, PRIMARY, SLICED

_HEADLINE = (
    "ndcg_at_10",
    "recall_at_10",
    "precision_at_10",
    "hit_rate_at_10",
    "reciprocal_rank_at_10",
    "recall_at_100",
)
_SHORT = {
    "recall_at_10": "R@10",
    "precision_at_10": "P@10",
    "hit_rate_at_10": "HR@10",
    "reciprocal_rank_at_10": "MRR@10",
    "recall_at_100": "R@100",
}
_BEYOND = (COVERAGE, "novelty", "diversity", "popularity_share", "mae")


def build_tables(comparison: Mapping[str, Any]) -> list[Table]:
    """Lay a comparison out: accuracy, what the lists are like, discovery, slices, paired differences."""
    models, reference = comparison["models"], comparison["reference"]
    users = f"{comparison['n_users']:,} held-out users, 95 % intervals"
    discovery = [name for name in LABELS if name.startswith(DISCOVERY)]
    tables = [
        build_metric_table(f"Held-out ratings of 7 and more: {users}", models, _HEADLINE),
        build_metric_table("The lists themselves", models, _BEYOND),
        build_metric_table("Discovery: titles of franchises unknown to the history", models, discovery),
        build_slice_table(models, PRIMARY),
    ]
    if len(models) > 1:
        tables.append(build_difference_table(models, reference))
    return [table for table in tables if table.row_count]


def sort_models(models: Mapping[str, Any], metric: str = PRIMARY) -> list[str]:
    """Order models by a metric, the best first."""
    return sorted(models, key=lambda name: -models[name]["metrics"].get(metric, {"mean": 0.0})["mean"])


def build_metric_table(title: str, models: Mapping[str, Any], metrics: Sequence[str]) -> Table:
    """Give each model a row and each metric a column of means with intervals."""
    known = [metric for metric in metrics if any(metric in model["metrics"] for model in models.values())]
    table = _open_table(title)
    for metric in known:
        table.add_column(_SHORT.get(metric.removeprefix(DISCOVERY), _plain(metric)), justify="right", no_wrap=True)
    for name in sort_models(models) if known else []:
        table.add_row(name, *(spell(models[name]["metrics"].get(metric)) for metric in known))
    return table


def build_slice_table(models: Mapping[str, Any], metric: str) -> Table:
    """Give each slice of users a column."""
    slices = list(dict.fromkeys(name for model in models.values() for name in model["slices"]))
    table = _open_table(f"{LABELS[metric]} by slice of users")
    sizes = {name: model["n_users"] for found in models.values() for name, model in found["slices"].items()}
    for name in slices:
        table.add_column(f"{name}\n({sizes[name]:,} users)", justify="right")
    for model in sort_models(models) if slices else []:
        found = models[model]["slices"]
        table.add_row(model, *(spell(found.get(name, {"metrics": {}})["metrics"].get(metric)) for name in slices))
    return table


def build_difference_table(models: Mapping[str, Any], reference: str) -> Table:
    """Pair every model with the reference, user by user."""
    title = f"Paired differences: model minus {reference}, user by user"
    table = _open_table(title)
    for metric in SLICED:
        table.add_column(LABELS[metric].replace(", ", ",\n"), justify="right", no_wrap=True)
    for name in sort_models(models):
        if name != reference:
            table.add_row(name, *(spell_difference(models[name]["differences"].get(metric)) for metric in SLICED))
    return table


def _plain(metric: str) -> str:
    return LABELS[metric].removesuffix(", discovery")


def spell(found: Mapping[str, float] | None) -> str:
    """Write a mean above its interval."""
    if found is None:
        return "-"
    digits = 3 if abs(found["mean"]) < 1 else 2
    low, high = (_trim(f"{found[end]:.{digits}f}") for end in ("low", "high"))
    return f"{found['mean']:.{digits}f}\n[dim]{low}-{high}[/]"


def spell_briefly(found: Mapping[str, float] | None) -> str:
    """Write a mean above half the width of its interval."""
    if found is None:
        return "-"
    half = (found["high"] - found["low"]) / 2
    return f"{found['mean']:.3f}\n[dim]±{_trim(format(half, '.3f'))}[/]"


def spell_difference(found: Mapping[str, float] | None) -> str:
    """Write a difference and the lift above its interval, bold where the interval leaves out 0."""
    if found is None:
        return "-"
    lift = "" if found["lift"] is None else f" {100 * found['lift']:+.1f} %"
    low, high = (_trim(f"{found[end]:+.3f}") for end in ("low", "high"))
    text = f"{_trim(format(found['mean'], '+.3f'))}{lift}\n[dim]{low} to {high}[/]"
    return f"[bold]{text}[/]" if found["low"] > 0 or found["high"] < 0 else text


def _trim(number: str) -> str:
    """Leave the zero in front of a decimal point out, to save room."""
    return number.replace("0.", ".", 1) if number.lstrip("+-").startswith("0.") else number


def _open_table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    return table


def build_cold_table(cold: Mapping[str, Any]) -> Table:
    """Lay the cold-start slices out: a row per model, a column per slice, NDCG@10 with intervals."""
    slices = list(dict.fromkeys(name for model in cold["models"].values() for name in model))
    table = _open_table("Cold start: NDCG@10 of users with short histories")
    for slice_name in slices:
        table.add_column(slice_name.replace(" ", "\n", 1), justify="right")
    for name, found in cold["models"].items():
        table.add_row(name, *(spell_briefly(found.get(slice_name, {}).get(PRIMARY)) for slice_name in slices))
    return table


def build_unrated_table(unrated: Mapping[str, Any]) -> Table:
    """Lay the titles without a rating out: recall of each model on them."""
    title = (
        f"Titles without a rating: {unrated['n_hidden']:,} titles hidden from training, "
        f"{unrated['n_users']:,} users who like one"
    )
    table = _open_table(title)
    metrics = list(dict.fromkeys(metric for found in unrated["models"].values() for metric in found))
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right")
    for name, found in unrated["models"].items():
        table.add_row(name, *(spell(found.get(metric)) for metric in metrics))
    return table


def build_leaky_table(leaky: Mapping[str, Any]) -> Table:
    """Lay the original's own protocols out, marked as what they are."""
    title = "LEAKY: the original's own protocols, for side by side only; they say nothing about new users"
    table = Table("protocol", "here", "published", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for line in leaky["measures"]:
        table.add_row(
            line["name"], f"{line['value']:.4f}", "-" if line["published"] is None else f"{line['published']:.4f}"
        )
    return table
