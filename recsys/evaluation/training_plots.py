"""Pictures of a training: learning curves, feature importance, calibration of the predicted ratings."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from recsys.evaluation.reliability import ReliabilityBin, compute_calibration_error

Curves = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]

_BLUE, _ORANGE, _GREY = "#3b6ea5", "#a33c00", "#444444"
_METRICS = {"l1": "mean absolute error"}


def plot_learning_curves(curves: Curves, best_iterations: Mapping[str, int]) -> Figure:
    """Draw each head's validation metric over the trees, with the trees that were kept where it is one booster.

    Parameters
    ----------
    curves
        By head, data set or booster, and metric, as LightGBM records them.
    best_iterations
        Trees that are kept of each head.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for column, (head, sets) in enumerate(sorted(curves.items()), start=1):
        axes = figure.add_subplot(1, max(len(curves), 1), column)
        for name, metrics in sets.items():
            for metric, values in metrics.items():
                axes.plot(range(1, len(values) + 1), values, color=_BLUE if len(sets) == 1 else None, label=name)
                axes.set_ylabel(_METRICS.get(metric, metric.upper()))
        if best_iterations.get(head) and len(sets) == 1:
            axes.axvline(best_iterations[head], color=_ORANGE, linestyle="--", label=f"kept {best_iterations[head]}")
        axes.set_title(f"{head} head", loc="left")
        axes.set_xlabel("trees")
        axes.legend(frameon=False)
    return figure


def plot_importance(importance: Mapping[str, Mapping[str, float]], *, n_shown: int = 20) -> Figure:
    """Draw the features that reduce each head's loss most, as shares of the whole gain."""
    figure = Figure(figsize=(11, 0.24 * n_shown + 1), layout="constrained")
    for column, (head, gains) in enumerate(sorted(importance.items()), start=1):
        axes = figure.add_subplot(1, max(len(importance), 1), column)
        total = sum(gains.values()) or 1.0
        top = sorted(gains.items(), key=lambda entry: (-entry[1], entry[0]))[:n_shown][::-1]
        axes.barh([name for name, _ in top], [100 * gain / total for _, gain in top], color=_BLUE)
        axes.set_title(f"{head} head", loc="left")
        axes.set_xlabel("share of the gain, %")
        axes.tick_params(axis="y", labelsize=7)
    return figure


def plot_reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """Draw mean observed over mean predicted rating by tenths of the hidden ratings."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([1, 10], [1, 10], color=_GREY, linewidth=1, label="as predicted")
    axes.plot(
        [found.predicted for found in bins],
        [found.observed for found in bins],
        color=_ORANGE,
        marker="o",
        label=f"test users, off by {compute_calibration_error(bins):.2f}",
    )
    axes.set(xlim=(1, 10), ylim=(1, 10), xlabel="predicted rating", ylabel="mean of the given ratings")
    axes.legend(frameon=False)
    return figure
