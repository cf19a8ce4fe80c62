"""Franchise features: what of a candidate's franchise is in the history."""

import numpy as np

from recsys.features.pairs import FeatureColumns, Pairs


def compute_franchise_relations(pairs: Pairs) -> FeatureColumns:
    """Relate candidates to the other titles of their franchise in the history.

    Number and share of them, how they were rated against the user's mean, and whether the one that aired just before
    and the one just after are among them; 0 where there is no such title.
    """
    members = pairs.items.franchise_members
    counts = np.asarray((pairs.watched @ members).todense())
    sums = np.asarray((pairs.deviations @ members).todense())
    franchises = pairs.items.franchises[pairs.columns]
    seen = counts[pairs.rows, franchises]
    others = np.maximum(pairs.items.franchise_sizes[pairs.columns] - 1, 1)
    watched = np.zeros((pairs.history.shape[0], pairs.history.shape[1] + 1), dtype=np.float32)
    watched[pairs.history.nonzero()] = 1.0
    earlier, later = pairs.items.franchise_neighbours
    return {
        "franchise_seen": seen,
        "franchise_seen_share": seen / others,
        "franchise_rating": sums[pairs.rows, franchises] / (seen + 1.0),
        "franchise_earlier_seen": watched[pairs.rows, earlier[pairs.columns]],
        "franchise_later_seen": watched[pairs.rows, later[pairs.columns]],
    }
