"""What a list costs to compute, counted and not timed, so that it depends on the model and the histories alone."""

import numpy as np

from recsys.ranking.forest_cost import count_mean_splits
from recsys.recommender.model import Recommender
from recsys.types import RatingMatrix


def compute_list_cost(recommender: Recommender, history: RatingMatrix) -> dict[str, float]:
    """Count the work of a list, on average over some histories.

    Parameters
    ----------
    history
        CSR `(n_users, n_items)` in the recommender's own catalog.

    Returns
    -------
    `candidates_per_list`; `feature_values_per_list`, candidates times features; `splits_per_list`, candidates times the
    splits that a candidate passes in the trees of the relevance head.
    """
    tastes = np.zeros((history.shape[0], len(recommender.catalog.genres)), dtype=np.float32)
    n_candidates = float(recommender.retriever.retrieve(history, tastes).counts.mean())
    return {
        "candidates_per_list": n_candidates,
        "feature_values_per_list": n_candidates * len(recommender.ranker.schema.names),
        "splits_per_list": n_candidates * count_mean_splits(recommender.ranker.relevance),
    }
