"""How near a candidate is to the titles of the history: by synopsis, by LightFM vector, by name."""

import numpy as np

from recsys.data.interactions import POSITIVE_RATING
from recsys.features.neighbour_features import summarise_support
from recsys.features.pairs import FeatureColumns, Pairs
from recsys.types import Floats


def _similarities(pairs: Pairs, units: Floats, prefix: str) -> FeatureColumns:
    """Compare candidates with what was liked and disliked: mean and nearest cosine."""
    features = {
        f"{prefix}_{kind}": np.full(len(pairs.rows), np.nan, dtype=np.float32)
        for kind in ("liked_mean", "liked_max", "disliked_mean")
    }
    start = 0
    for row, positions in enumerate(pairs.candidates):
        part = slice(start, start + len(positions))
        start = part.stop
        seen, ratings = pairs.seen(row)
        liked = units[seen[ratings >= min(POSITIVE_RATING, ratings.max(initial=0))]]
        disliked = units[seen[ratings < POSITIVE_RATING]]
        wanted = units[positions]
        if len(liked):
            features[f"{prefix}_liked_mean"][part] = wanted @ liked.mean(axis=0)
            features[f"{prefix}_liked_max"][part] = (wanted @ liked.T).max(axis=1)
        if len(disliked):
            features[f"{prefix}_disliked_mean"][part] = wanted @ disliked.mean(axis=0)
    return features


def compute_text_similarities(pairs: Pairs) -> FeatureColumns:
    """Compare synopses."""
    return _similarities(pairs, pairs.items.text_units, "text")


def compute_lightfm_similarities(pairs: Pairs) -> FeatureColumns:
    """Compare LightFM vectors."""
    return _similarities(pairs, pairs.items.lightfm_units, "lightfm_cosine")


def compute_name_relations(pairs: Pairs) -> FeatureColumns:
    """Relate candidates to titles of a similar name in the history."""
    nearest, _, totals, deviations, _ = summarise_support(pairs.items.title_neighbours, pairs)
    with np.errstate(invalid="ignore"):
        ratings = deviations / totals
    # Without a history there is no mean to deviate from.
    ratings[(pairs.lengths == 0)[pairs.rows]] = 0.0
    return {"title_nearest": nearest, "title_total": totals, "title_rating": ratings}
