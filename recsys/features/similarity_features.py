"""How near a candidate is to the titles of the history: by synopsis, by LightFM vector, by name."""

from typing import Final

import numpy as np

from recsys.data.interactions import POSITIVE_RATING
from recsys.features.neighbour_features import summarise_support
from recsys.features.pairs import FeatureColumns, Pairs
from recsys.types import Floats, Mask

_KINDS: Final = ("liked_mean", "liked_max", "disliked_mean")


def _similarities(pairs: Pairs, units: Floats, prefix: str) -> FeatureColumns:
    """Compare candidates with what was liked and disliked: mean and nearest cosine."""
    features = {f"{prefix}_{kind}": np.full(len(pairs.rows), np.nan, dtype=np.float32) for kind in _KINDS}
    tables = tuple(features.values())
    rest = _compare_without(pairs, units, tables) if pairs.whole is not None else range(len(pairs.candidates))
    ends = np.cumsum(pairs.counts)
    for row in rest:
        part = slice(ends[row] - pairs.counts[row], ends[row])
        seen, ratings = pairs.seen(row)
        liked, disliked = (units[seen[chosen]] for chosen in _split(ratings))
        wanted = units[pairs.candidates[row]]
        if len(liked):
            tables[0][part] = wanted @ _mean(liked)
            tables[1][part] = (wanted @ liked.T).max(axis=1)
        if len(disliked):
            tables[2][part] = wanted @ _mean(disliked)
    return features


def _split(ratings: Floats) -> tuple[Mask, Mask]:
    """Tell which titles were liked, the best rated ones if none was, and which were not, `(n_seen,)` both."""
    return ratings >= min(POSITIVE_RATING, ratings.max(initial=0)), ratings < POSITIVE_RATING


def _mean(vectors: Floats) -> Floats:
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _compare_without(pairs: Pairs, units: Floats, tables: tuple[Floats, ...]) -> list[int]:
    """Compare where every row is one history without a title; return the rows that are left to compare otherwise.

    Vectors are gathered and added up once for all rows.
    """
    assert pairs.whole is not None and pairs.removed is not None  # noqa: S101, PT018 - said by the caller
    seen, ratings = pairs.whole.indices, pairs.whole.data
    # Without the best rated title others may count as liked.
    best = np.sort(ratings)[-2:]
    if len(best) < 2 or best[0] < POSITIVE_RATING:
        return list(range(len(pairs.candidates)))
    wanted, gone, vectors = units[pairs.columns], units[pairs.removed].astype(np.float64), units[seen]
    for chosen, mean_table, best_table in zip(_split(ratings), tables[::2], (tables[1], None), strict=True):
        kept, group = vectors[chosen], seen[chosen]
        if not len(group):
            continue
        places = np.searchsorted(group, pairs.removed)
        held = group[np.minimum(places, len(group) - 1)] == pairs.removed
        sizes = len(group) - held
        sums = kept.sum(axis=0, dtype=np.float64) - gone * held[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (sums / sizes[:, None]).astype(np.float32)
        means[sizes == 0] = np.nan
        mean_table[:] = np.einsum("ij,ij->i", wanted, means[pairs.rows])
        if best_table is not None:
            cosines = wanted @ kept.T
            own = np.flatnonzero(held[pairs.rows])
            cosines[own, places[pairs.rows[own]]] = -np.inf
            best_table[:] = cosines.max(axis=1)
    return []


def compute_text_similarities(pairs: Pairs) -> FeatureColumns:
    """Compare synopses."""
    return _similarities(pairs, pairs.items.text_units, "text")


def compute_lightfm_similarities(pairs: Pairs) -> FeatureColumns:
    """Compare LightFM vectors."""
    return _similarities(pairs, pairs.items.lightfm_units, "lightfm_cosine")


def compute_name_relations(pairs: Pairs) -> FeatureColumns:
    """Relate candidates to titles of a similar name in the history."""
    nearest, _, totals, deviations, _ = summarise_support(pairs.items.title_support, pairs)
    with np.errstate(invalid="ignore"):
        ratings = deviations / totals
    # Without a history there is no mean to deviate from.
    ratings[(pairs.lengths == 0)[pairs.rows]] = 0.0
    return {"title_nearest": nearest, "title_total": totals, "title_rating": ratings}
