"""Contributions of single titles of the history, which the sums of the item-item models do not show."""

from recsys.features.pairs import FeatureColumns, Pairs
from recsys.features.support import Support
from recsys.types import Floats

# Prior strength of a neighbour rating, in units of the summed weights.
WEIGHT_SHRINKAGE = 0.1


def compute_neighbour_support(pairs: Pairs) -> FeatureColumns:
    """Describe the contributions of single titles to the score of each item-item model.

    For each model the strongest contribution, the number of titles that contribute, their share of all that could, by
    weight, and the mean of the user's ratings of them, as deviations from the user's mean weighted by contribution: the
    classic item-based prediction (Sarwar et al., WWW 2001).
    """
    features: FeatureColumns = {}
    for name, support in pairs.support.items():
        strongest, number, totals, deviations, possible = summarise_support(support, pairs)
        features[f"{name}_strongest"] = strongest
        features[f"{name}_supporters"] = number
        features[f"{name}_coverage"] = totals / (possible + WEIGHT_SHRINKAGE)
        features[f"{name}_rating"] = deviations / (totals + WEIGHT_SHRINKAGE)
    return features


def summarise_support(support: Support, pairs: Pairs) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Reduce, for each pair, what the titles of the user's history say about the candidate.

    Returns
    -------
    The largest weight of a watched title, the number of such weights, their sum, the sum of them times the user's
    rating less the user's mean, and the sum of all weights, watched or not, each `(n_pairs,)`; weights below 0 do not
    count.
    """
    from recsys.features.support_sums import summarise_pairs  # compiles, which not every importer needs

    histories = pairs.history.indptr, pairs.history.indices, pairs.deviations.data
    found = summarise_pairs(support, histories, pairs.counts, pairs.columns)
    return found[0], found[1], found[2], found[3], support.possible[pairs.columns]
