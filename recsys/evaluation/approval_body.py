"""What a person reads before a promotion is approved, in Markdown."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.evaluation.model_card import build_table, describe_decision, select_slices
from recsys.gate.decision import Decision
from recsys.gate.intervals import paired_difference

_METRIC = "ndcg_at_10"


def build_approval_body(
    decision: Decision, table: pd.DataFrame, *, challenger: str, reference: str, links: Mapping[str, str]
) -> str:
    """Describe what the gate proposes: lift and interval, slices, guardrails, links.

    Parameters
    ----------
    table
        One row per model and test user: `model`, `user_id`, `arrived`, `n_history`, `ndcg_at_10` (NaN if undefined).
    challenger, reference
        The models in `table` that are compared.
    links
        Addresses by name.
    """
    lift = decision.primary
    parts = [f"**{decision.reason}**"]
    if lift is not None:
        parts.append(
            f"NDCG@10 of the challenger {lift.challenger_mean:.4f}, of the {decision.reference} "
            f"{lift.champion_mean:.4f}; difference {lift.mean:+.4f}, {100 * lift.level:.3g} % interval "
            f"{lift.low:+.4f} to {lift.high:+.4f}, p = {lift.p_value:.3g}, {lift.n} users."
        )
    parts += [
        build_table(("slice", "users", "challenger", reference, "difference"), _compare(table, challenger, reference)),
        *describe_decision(decision),
        "\n".join(f"- {name}: {address}" for name, address in links.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _compare(table: pd.DataFrame, challenger: str, reference: str) -> list[tuple[object, ...]]:
    """Compare both models on each slice of the test users."""
    own = table[table["model"] == challenger].sort_values(Columns.User)
    other = table[table["model"] == reference].sort_values(Columns.User)
    ours, theirs = (rows[_METRIC].to_numpy(dtype=np.float64) for rows in (own, other))
    rows: list[tuple[object, ...]] = []
    for name, mask in select_slices(own).items():
        known = mask & ~np.isnan(ours) & ~np.isnan(theirs)
        if known.sum() < 2:
            rows.append((name, int(known.sum()), "-", "-", "-"))
            continue
        found = paired_difference(ours[known], theirs[known])
        interval = f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        rows.append((name, found.n, f"{found.challenger_mean:.4f}", f"{found.champion_mean:.4f}", interval))
    return rows
