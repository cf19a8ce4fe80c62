"""Lay models side by side: means with intervals, by slice, and paired differences against one of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.evaluation.evaluate import EvaluationResult
from recsys.evaluation.evaluation_set import EvaluationSet
from recsys.evaluation.measured_lists import FAR
from recsys.evaluation.model_card import select_slices
from recsys.exceptions import EvaluationError, SchemaMismatchError
from recsys.gate.intervals import Interval, bootstrap_interval, paired_difference
from recsys.gate.metrics import PerUser

PRIMARY: Final = "ndcg_at_10"
COVERAGE: Final = "catalog_coverage"
DISCOVERY: Final = "discovery_"
_AT_10: Final = {
    "ndcg_at_10": "NDCG@10",
    "recall_at_10": "Recall@10",
    "precision_at_10": "Precision@10",
    "hit_rate_at_10": "HitRate@10",
    "reciprocal_rank_at_10": "MRR@10",
}
# Every metric in the order of the tables, with the name that users read.
LABELS: Final[Mapping[str, str]] = {
    **_AT_10,
    f"recall_at_{FAR}": f"Recall@{FAR}",
    COVERAGE: "coverage",
    "novelty": "novelty, bits",
    "diversity": "diversity",
    "popularity_share": "popular share",
    "mae": "rating error",
    **{f"{DISCOVERY}{name}": f"{label}, discovery" for name, label in _AT_10.items()},
}
SLICED: Final = (PRIMARY, "recall_at_10", f"recall_at_{FAR}", f"{DISCOVERY}{PRIMARY}")


@dataclass(frozen=True)
class Result:
    """What one model achieved.

    Parameters
    ----------
    table
        One row per user: `user_id`, `n_history`, `arrived` and the metrics, NaN where undefined.
    coverage
        Of all lists together.
    facts
        Further numbers about the model: seconds, bytes.
    """

    name: str
    table: pd.DataFrame
    coverage: Interval
    facts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, result: EvaluationResult, eval_set: EvaluationSet, facts: Mapping[str, float] | None = None
    ) -> "Result":
        """Keep of a result what can be compared."""
        table = result.to_table(eval_set).drop(columns="model").assign(arrived=eval_set.arrived)
        return cls(result.name, table, result.coverage(eval_set), {**result.facts, **(facts or {})})

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that a user has a value of."""
        return [name for name in LABELS if name in self.table and self.table[name].notna().any()]

    def values(self, metric: str) -> PerUser:
        """Return one value per user."""
        return self.table[metric].to_numpy(dtype=np.float64)


def compare(results: Sequence[Result], reference: str, *, seed: int = 0) -> dict[str, Any]:
    """Compare models that were evaluated on the same users.

    Parameters
    ----------
    reference
        The model that every other one is paired with.
    seed
        Of the bootstrap; every interval draws the same users, so that no two models differ by luck of the draw.

    Returns
    -------
    A JSON-ready form: `reference`, `n_users` and under `models`, by name, `metrics`, `differences` (model minus
    reference), `slices` with both and `facts`.

    Raises
    ------
    EvaluationError
        If the reference was not evaluated.
    SchemaMismatchError
        If models were evaluated on different users.
    """
    by_name = {result.name: result for result in results}
    if reference not in by_name:
        raise EvaluationError(f"the reference {reference!r} was not evaluated; choose among {', '.join(by_name)}")
    other = by_name[reference]
    for result in results:
        if not np.array_equal(result.table[Columns.User], other.table[Columns.User]):
            raise SchemaMismatchError(
                f"{result.name} and {reference} were evaluated on different users; evaluate them again"
            )
    return {
        "reference": reference,
        "n_users": len(other.table),
        "models": {result.name: _describe(result, other, seed) for result in results},
    }


def pair(result: Result, reference: Result, metrics: Sequence[str] = SLICED) -> dict[str, Any]:
    """Pair one model with another, over everybody (`all`) and by slice; the same users in the same order."""
    masks = {"all": np.ones(len(result.table), dtype=np.bool_), **select_slices(result.table)}
    return {
        name: dict(_subtract(result.table[mask], reference.table[mask], metrics))
        for name, mask in masks.items()
        if mask.any()
    }


def _describe(result: Result, reference: Result, seed: int) -> dict[str, Any]:
    metrics = {name: asdict(interval) for name, interval in _estimate(result.table, result.metrics, seed)}
    metrics[COVERAGE] = asdict(result.coverage)
    ordered = {name: metrics[name] for name in LABELS if name in metrics}
    slices = {}
    for name, mask in select_slices(result.table).items():
        if not mask.any():
            continue
        ours, theirs = result.table[mask], reference.table[mask]
        slices[name] = {
            "n_users": int(mask.sum()),
            "metrics": {
                metric: asdict(interval)
                for metric, interval in _estimate(ours, [name for name in SLICED if name in result.metrics], seed)
            },
            "differences": dict(_subtract(ours, theirs, SLICED)),
        }
    return {
        "metrics": ordered,
        "differences": dict(_subtract(result.table, reference.table, tuple(result.metrics))),
        "slices": slices,
        "facts": {name: float(value) for name, value in result.facts.items() if np.isfinite(value)},
    }


def _estimate(table: pd.DataFrame, metrics: Sequence[str], seed: int) -> Iterator[tuple[str, Interval]]:
    for metric in metrics:
        values = table[metric].to_numpy(dtype=np.float64)
        if not np.isnan(values).all():
            yield metric, bootstrap_interval(values, rng=np.random.default_rng(seed))


def _subtract(
    ours: pd.DataFrame, theirs: pd.DataFrame, metrics: Sequence[str]
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Pair two models user by user; `lift` is the difference as a share of the reference's mean."""
    for metric in metrics:
        if metric not in ours or metric not in theirs:
            continue
        pair = ours[metric].to_numpy(dtype=np.float64), theirs[metric].to_numpy(dtype=np.float64)
        if int((~np.isnan(pair[0]) & ~np.isnan(pair[1])).sum()) < 2:
            continue
        found = paired_difference(*pair)
        lift = found.mean / found.champion_mean if found.champion_mean else None
        yield (
            metric,
            {
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "p_value": found.p_value,
                "n": found.n,
                "lift": lift,
            },
        )
