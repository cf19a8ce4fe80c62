"""Titles similar to one title, by a single model that compares titles itself."""

import numpy as np

from recsys.ranking.explanations import Kind, Reason
from recsys.recommender.list_rules import PLAIN, ListOptions
from recsys.recommender.model import Recommender
from recsys.recommender.profile import Recommendations
from recsys.retrieval.base import ComparesTitles
from recsys.types import ItemId, Mask

# A list is picked from so many times its length, at least from so many.
_POOL_FACTOR, _MIN_POOL = 5, 100


def compare_items(
    recommender: Recommender,
    model: ComparesTitles,
    item_id: ItemId,
    *,
    k: int,
    allowed: Mask,
    options: ListOptions = PLAIN,
) -> tuple[Recommendations, list[tuple[Reason, ...]]]:
    """Find the titles nearest to one, nearest first, each with what audience and synopsis add to its score.

    Parameters
    ----------
    allowed
        `(n_items,)`; False for filtered titles.
    """
    catalog = recommender.catalog
    position = int(catalog.positions([item_id])[0])
    audience, synopsis = model.compare(position)
    scores, mask = audience + synopsis, recommender.restrict_similar(position, allowed, options)
    near = np.flatnonzero(mask)
    near = near[np.lexsort((near, -scores[near]))][: max(_MIN_POOL, _POOL_FACTOR * k)]
    positions, values = recommender.choose_similar((near, scores[near]), k, mask, options)
    found = Recommendations(catalog.item_ids[positions], values, recommender.cold_start_ratings[positions])
    title = catalog.title(item_id)
    texts: tuple[tuple[Kind, str], ...] = (
        ("audience", f"Liked by the same users as {title}."),
        ("synopsis", f"Similar synopsis to {title}."),
    )
    reasons = []
    for place in positions:
        parts = zip(texts, (float(audience[place]), float(synopsis[place])), strict=True)
        given = [Reason(kind, text, value, item_id) for (kind, text), value in parts if value > 0]
        reasons.append(tuple(sorted(given, key=lambda reason: -reason.contribution)))
    return found, reasons
