"""Franchise features: what of a candidate's franchise is in the history."""

import numpy as np

from recsys.features.pairs import FeatureColumns, Pairs


def compute_franchise_relations(pairs: Pairs) -> FeatureColumns:
    """Relate candidates to the other titles of their franchise in the history.

    Number and share of them, how they were rated against the user's mean, and whether the one that aired just before
    and the one just after are among them; 0 where there is no such title.
    """
    from recsys.features.support_sums import sum_by_group  # compiles, which not every importer needs

    items = pairs.items
    histories = pairs.history.indptr, pairs.history.indices, pairs.deviations.data
    places = np.arange(len(items.franchises) + 1)  # the last one stands for a neighbour that there is not
    n_seen, deviations = sum_by_group(histories, pairs.counts, items.franchises[pairs.columns], items.franchises)
    neighbours = (
        sum_by_group(histories, pairs.counts, neighbour[pairs.columns], places)[0]
        for neighbour in items.franchise_neighbours
    )
    others = np.maximum(items.franchise_sizes[pairs.columns] - 1, 1)
    return {
        "franchise_seen": n_seen,
        "franchise_seen_share": n_seen / others,
        "franchise_rating": deviations / (n_seen + 1.0),
        **dict(zip(("franchise_earlier_seen", "franchise_later_seen"), neighbours, strict=True)),
    }
