"""Pictures of a decision, drawn without a display; a figure belongs to no window and needs no closing."""

import numpy as np
from matplotlib.figure import Figure

from recsys.gate.decision import Criterion, Decision
from recsys.gate.metrics import PerUser

_TITLES = {"ndcg_at_10": "NDCG@10", "absolute_rating_error": "absolute rating error"}


def plot_differences(challenger: PerUser, champion: PerUser, criterion: Criterion, *, decision: Decision) -> Figure:
    """Draw the distribution of per-user differences with the mean, its interval and the margin.

    Most users see no difference at all, so the counts stand on a logarithmic scale.

    Parameters
    ----------
    challenger, champion
        The values that `criterion` compared, in the same order of users, `(n_users,)`.
    """
    differences = challenger - champion
    differences = differences[~np.isnan(differences)]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(differences, bins=41, color="#9bb7d4", log=True)
    axes.axvline(0.0, color="#444444", linewidth=1)
    if criterion.difference is not None:
        found = criterion.difference
        axes.axvspan(found.low, found.high, color="#d9822b", alpha=0.35, label=f"{100 * found.level:.3g} % interval")
        axes.axvline(found.mean, color="#a33c00", label=f"mean {found.mean:+.4f}")
    if criterion.margin > 0:
        sign = 1 if criterion.name == "absolute_rating_error" else -1
        axes.axvline(sign * criterion.margin, color="#7a1fa2", linestyle="--", label="margin")
    title = _TITLES.get(criterion.name, criterion.name)
    axes.set(xlabel=f"{title}, challenger minus {decision.reference}", ylabel="users")
    axes.set_title(f"{decision.action.value}: {decision.outcome.value.replace('_', ' ')}", loc="left")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return figure
