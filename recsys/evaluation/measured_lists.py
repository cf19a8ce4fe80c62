"""What ranked lists are measured by, user by user."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from recsys.data.users import Users
from recsys.evaluation.evaluation_set import EvaluationSet, close_ranks, drop_known, find_known, find_relevant
from recsys.evaluation.list_metrics import intra_list_diversity, novelty, popularity_share
from recsys.features.item_side import normalise_rows
from recsys.gate.metrics import EMPTY, PerUser, compute_ranking_metrics, recall_at_k
from recsys.types import Positions

K: Final = 10
FAR: Final = 100


def measure_lists(lists: Positions, users: Users, eval_set: EvaluationSet) -> dict[str, PerUser]:
    """Compute every metric of these users' lists, by name, each `(n_users,)`.

    `recall_at_100` needs lists of at least 100 places; the metrics with `discovery_` look only at titles of franchises
    that the history does not touch, in the lists and among the targets; they need an evaluation set with franchises.
    """
    relevant = find_relevant(users.targets)
    top = lists[:, :K]
    found = compute_ranking_metrics(lists, relevant, K)
    if lists.shape[1] >= FAR:
        found[f"recall_at_{FAR}"] = recall_at_k(lists, relevant, FAR)
    found["novelty"] = novelty(top, eval_set.item_counts, eval_set.n_training_users)
    found["popularity_share"] = popularity_share(top, eval_set.item_counts)
    found["diversity"] = intra_list_diversity(top, normalise_rows(eval_set.catalog.genre_matrix))
    if eval_set.franchises is not None:
        known = find_known(users.history, eval_set.franchises)
        unknown = ~np.take_along_axis(known, np.where(lists == EMPTY, 0, lists), axis=1)
        undiscovered = find_relevant(drop_known(users.targets, known))
        closed = close_ranks(lists, unknown, K)
        found |= {f"discovery_{key}": value for key, value in compute_ranking_metrics(closed, undiscovered, K).items()}
    return found


def pad_lists(lists: list[Positions], depth: int) -> Positions:
    """Arrange lists of any length as `(n_lists, depth)`, padded with -1."""
    padded = np.full((len(lists), depth), EMPTY, dtype=np.intp)
    for row, positions in enumerate(lists):
        padded[row, : len(positions[:depth])] = positions[:depth]
    return padded


def average_hidings(hidings: Sequence[PerUser]) -> PerUser:
    """Average the values of each user over several hidings, `(n_users,)`; a hiding without a value is left out.

    Examples
    --------
    >>> average_hidings([np.array([0.2, np.nan, np.nan]), np.array([0.4, 0.5, np.nan])]).round(3).tolist()
    [0.3, 0.5, nan]
    """
    table = np.stack(hidings)
    defined = ~np.isnan(table)
    counts = defined.sum(axis=0)
    means = np.where(defined, table, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan).astype(np.float64)
