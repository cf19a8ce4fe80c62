"""Pictures of a comparison: means with intervals, slices, paired differences; drawn without a display."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recsys.evaluation.comparison import LABELS, PRIMARY

_BLUE, _ORANGE, _GREY = "#3b6ea5", "#a33c00", "#888888"
_COLOURS: Final = ("#1f6f8b", "#d9822b", "#7a1fa2", "#4f7942", "#a33c00", "#3b6ea5", "#b0708e", "#6b6b6b")

Comparison = Mapping[str, Any]


def plot_metrics(comparison: Comparison, metrics: Sequence[str]) -> Figure:
    """Draw one panel per metric: every model's mean with its interval, the best mean first."""
    models = comparison["models"]
    figure = Figure(figsize=(3.4 * len(metrics) + 1.2, 0.32 * len(models) + 1.1), layout="constrained")
    order = _sort_models(models, metrics[0])
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        shown = [
            (place, models[name]["metrics"][metric]) for place, name in enumerate(order) if _has(models, name, metric)
        ]
        _draw_intervals(axes, shown, _BLUE)
        axes.set_title(LABELS.get(metric, metric), loc="left", fontsize=10)
        axes.set_xlim(left=0)
    panels[0].set_yticks(range(len(order)), order)
    panels[0].invert_yaxis()
    return figure


def plot_differences(comparison: Comparison, metric: str = PRIMARY) -> Figure:
    """Draw every model's paired difference from the reference with its interval."""
    models, reference = comparison["models"], comparison["reference"]
    order = [
        name for name in _sort_models(models, metric) if name != reference and metric in models[name]["differences"]
    ]
    figure = Figure(figsize=(7.5, 0.32 * max(len(order), 1) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    _draw_intervals(axes, [(place, models[name]["differences"][metric]) for place, name in enumerate(order)], _ORANGE)
    axes.axvline(0.0, color=_GREY, linewidth=1)
    axes.set_yticks(range(len(order)), order)
    axes.invert_yaxis()
    axes.set_xlabel(f"{LABELS.get(metric, metric)}, model minus {reference}")
    return figure


def plot_slices(comparison: Comparison, metric: str = PRIMARY) -> Figure:
    """Draw one metric by slice of users, one line of points per model."""
    models = comparison["models"]
    slices = list(dict.fromkeys(name for model in models.values() for name in model["slices"]))
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.add_subplot()
    names = _sort_models(models, metric)
    step = 0.8 / max(len(names), 1)
    for number, name in enumerate(names):
        shown = [
            (place - 0.4 + step * (number + 0.5), models[name]["slices"][part]["metrics"][metric])
            for place, part in enumerate(slices)
            if metric in models[name]["slices"].get(part, {"metrics": {}})["metrics"]
        ]
        means = [found["mean"] for _, found in shown]
        spread = [
            [found["mean"] - found["low"] for _, found in shown],
            [found["high"] - found["mean"] for _, found in shown],
        ]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.errorbar(
            [place for place, _ in shown], means, yerr=spread, fmt="o", color=colour, markersize=4, label=name
        )
    sizes = {
        part: next(m["slices"][part]["n_users"] for m in models.values() if part in m["slices"]) for part in slices
    }
    axes.set_xticks(range(len(slices)), [f"{part}\n{sizes[part]:,} users" for part in slices])
    axes.set_ylabel(LABELS.get(metric, metric))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return figure


def _has(models: Mapping[str, Any], name: str, metric: str) -> bool:
    return metric in models[name]["metrics"]


def _sort_models(models: Mapping[str, Any], metric: str) -> list[str]:
    known = [name for name in models if _has(models, name, metric)]
    return sorted(known, key=lambda name: -models[name]["metrics"][metric]["mean"])


def _draw_intervals(axes: Axes, shown: Sequence[tuple[float, Mapping[str, float]]], colour: str) -> None:
    for place, found in shown:
        axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=2, alpha=0.6)
        axes.plot(found["mean"], place, "o", color=colour, markersize=5)
