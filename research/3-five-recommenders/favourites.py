"""The two groups of held-out users with whole histories (warm) and with one to five favourites alone (cold).

Users are split 80/10/10 by a hash of their ids. Warm users are folded in from their whole histories. A cold start knows
some favourites: titles of the history rated 7 or more, drawn by a hash; users with fewer than five are left out, so
that all cold starts are those of the same users. The targets are the hidden fifth in both, and what was watched is
never shown.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from otaku.evaluation.harness import EvaluationHarness, Model
from recsys.data.interactions import POSITIVE_RATING
from recsys.data.splits import TEST, VALIDATION
from recsys.data.users import shorten_histories
from recsys.evaluation.evaluation_set import EvaluationSet, build_evaluation_set
from recsys.gate.intervals import bootstrap_interval

METRICS: Final = ("hit_rate_at_10", "ndcg_at_10", "recall_at_100")
N_FAVOURITES: Final = (5, 3, 1)
WARM: Final = "whole history"


def name_start(n_favourites: int) -> str:
    """Name a cold start."""
    return f"{n_favourites} favourites" if n_favourites > 1 else "1 favourite"


def build_starts(eval_set: EvaluationSet) -> dict[str, EvaluationSet]:
    """Make evaluation sets of one group: whole histories, and favourites alone.

    Raises
    ------
    EvaluationError
        If no user has so many favourites.
    """
    history = eval_set.users.history.tocsr()
    liked = csr_matrix(history, copy=True)
    liked.data = np.where(liked.data >= POSITIVE_RATING, liked.data, 0.0).astype(history.dtype)
    liked.eliminate_zeros()
    chosen = np.flatnonzero(np.diff(liked.indptr) >= max(N_FAVOURITES))
    known = replace(eval_set, unshown=history).select(chosen)
    favourites = replace(known.users, history=liked[chosen])
    lengths = np.ones(len(chosen), dtype=np.int64)
    cold = {
        name_start(n): replace(known, users=replace(favourites, history=shorten_histories(favourites, n * lengths)))
        for n in N_FAVOURITES
    }
    return {WARM: eval_set, **cold}


def measure_starts(harness: EvaluationHarness, name: str, model: Model) -> dict[str, Any]:
    """Measure a fitted model on both groups: by group and start the users and the metrics with intervals."""
    groups = {}
    for group in (VALIDATION, TEST):
        eval_set = build_evaluation_set(harness.world, harness.training, group)
        groups[group] = {
            start: {"n_users": len(one.users.user_ids), **estimate(harness.evaluate(name, model, one).metrics)}
            for start, one in build_starts(eval_set).items()
        }
    return groups


def estimate(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Give each metric its mean and interval."""
    return {name: asdict(bootstrap_interval(metrics[name], rng=np.random.default_rng(0))) for name in METRICS}
