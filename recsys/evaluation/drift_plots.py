"""A picture and a page for a drift report: both populations side by side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recsys.evaluation.drift import Counts, DriftReport, ReferenceProfile, count_by_quantiles

_REFERENCE, _CURRENT = "#9bb7d4", "#a33c00"
N_GENRES = 12


def plot_drift(reference: ReferenceProfile, current: ReferenceProfile, report: DriftReport) -> Figure:
    """Draw what the model was trained on beside the users of the last days, as shares in per cent."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    titles = [f"{found.name}: PSI {found.psi:.3f}, {found.level}" for found in report.features]
    _draw_quantiles(panels[0], reference.n_ratings, current.n_ratings)
    _draw_quantiles(panels[1], reference.mean_rating, current.mean_rating)
    _draw_bars(panels[2], reference.rating_counts, current.rating_counts, [str(rating) for rating in range(1, 11)])
    shown = _select_genres(reference.genre_mix, current.genre_mix)
    names = [reference.genres[position] for position in shown]
    _draw_bars(panels[3], reference.genre_mix[shown], current.genre_mix[shown], names)
    panels[3].tick_params(axis="x", labelrotation=60)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylabel("share, %")
    labels = (f"trained on ({report.n_reference} users)", f"last days ({report.n_current} users)")
    figure.legend(panels[0].containers, labels, loc="outside upper right", frameon=False, ncols=2)
    return figure


def describe_drift(report: DriftReport, facts: Mapping[str, object], *, picture: str) -> str:
    """Write a report as Markdown.

    Parameters
    ----------
    facts
        What to say on top, by name: day, model, window.
    picture
        Name of the picture beside the page.
    """
    verdict = "; ".join(report.breaches) or "the model still fits the users"
    rows = [
        f"| {found.name} | {found.psi:.3f} | {_tell(found.psi_by_chance)} | {_tell(found.ks)} | {_tell(found.p_value)} "
        f"| {found.level} |"
        for found in report.features
    ]
    lines = [
        "# Drift",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        f"- users: {report.n_reference} trained on, {report.n_current} of the last days",
        f"- ratings about titles the model does not know: {report.unknown_share:.2%}",
        f"- age of the model: {report.age_days} days",
        "",
        f"**{verdict}.**",
        "",
        "| distribution | PSI | by chance up to | KS | p | level |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"![Both populations]({picture})",
        "",
    ]
    return "\n".join(lines)


def _draw_quantiles(axes: Axes, reference: Counts, current: Counts) -> None:
    expected, found = count_by_quantiles(reference, current)
    _draw_bars(axes, expected, found, [str(place) for place in range(1, len(expected) + 1)])
    axes.set_xlabel("tenths of the training users, ascending")


def _draw_bars(axes: Axes, reference: Counts, current: Counts, names: list[str]) -> None:
    places = np.arange(len(names))
    for offset, counts, colour in ((-0.2, reference, _REFERENCE), (0.2, current, _CURRENT)):
        axes.bar(places + offset, 100 * counts / max(counts.sum(), 1.0), width=0.4, color=colour)
    axes.set_xticks(places, names)


def _select_genres(reference: Counts, current: Counts) -> list[int]:
    """Select the genres whose share moved most, the greatest first."""
    moved = np.abs(current / max(current.sum(), 1.0) - reference / max(reference.sum(), 1.0))
    return [int(place) for place in np.argsort(-moved, kind="stable")[:N_GENRES]]


def _tell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
