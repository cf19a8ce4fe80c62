"""Recommendation lists by algorithm, with diversity and reasons on request."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from app.models.serving import ServingModel
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendRequest
from recsys.exceptions import UnknownAlgorithmError
from recsys.ranking.explanations import Reason
from recsys.recommender import Recommendations, UserProfile
from recsys.recommender.algorithms import RANKER
from recsys.recommender.explaining import explain, explain_similar
from recsys.types import ItemId, Mask

POPULAR: Final = "popular"
BEST_RATING: Final = 10.0  # rating of the seed title of a similar-items request

Reasons = list[tuple[Reason, ...]]


@dataclass(frozen=True)
class ExplainedList:
    """Recommendations, best first, with reasons if requested."""

    found: Recommendations
    reasons: Reasons | None = None


def make_list(model: ServingModel, request: RecommendRequest, profile: UserProfile, allowed: Mask) -> ExplainedList:
    """Recommend to a user.

    Raises
    ------
    ProblemError
        422 with the available ones, if the version does not hold the algorithm.
    """
    if request.algorithm == POPULAR:
        found = select_popular(model, profile, request, allowed)
    else:
        found = _recommend(model, request, profile, allowed)
    if not request.explain:
        return ExplainedList(found)
    return ExplainedList(found, explain(model.recommender, profile, found, request.algorithm))


def make_similar_list(model: ServingModel, request: RecommendRequest, item_id: ItemId, allowed: Mask) -> ExplainedList:
    """Recommend titles similar to one title; algorithms other than the ranker treat it as the only liked title."""
    if request.algorithm == RANKER:
        found = model.recommender.similar_items(item_id, k=request.k, allowed=allowed, diversity=request.diversity)
        reasons = explain_similar(model.recommender, item_id, found.item_ids) if request.explain else None
        return ExplainedList(found, reasons)
    allowed[model.recommender.catalog.positions([item_id])] = False
    profile = UserProfile(np.array([item_id]), np.array([BEST_RATING], dtype=np.float32))
    if request.algorithm == POPULAR:
        profile = UserProfile(genre_weights=dict.fromkeys(model.item_views.show_item(item_id).genres, 1.0))
    return make_list(model, request, profile, allowed)


def _recommend(model: ServingModel, request: RecommendRequest, profile: UserProfile, allowed: Mask) -> Recommendations:
    try:
        return model.recommender.recommend(
            profile,
            k=request.k,
            allowed=allowed,
            algorithm=request.algorithm,
            diversity=request.diversity,
        )
    except UnknownAlgorithmError as error:
        raise ProblemError(422, "unknown-algorithm", str(error), suggestions=error.available) from error


def select_popular(
    model: ServingModel, profile: UserProfile, request: RecommendRequest, allowed: Mask
) -> Recommendations:
    """Select the titles with most members on MAL that are allowed and not watched; the score is that number.

    Where there are tastes but no history, the titles of a stated genre go first. With diversity the scores are the
    values of `select_diverse`.
    """
    catalog = model.recommender.catalog
    mask = allowed.copy()
    mask[catalog.positions(profile.item_ids)] = False
    order = model.by_popularity[mask[model.by_popularity]]
    if profile.genre_weights and not len(profile.item_ids):
        wanted = model.filters.genres.mask(profile.genre_weights)
        order = order[np.argsort(~wanted[order], kind="stable")]
    positions, scores = model.recommender.diversify(
        order, model.members[order], k=request.k, diversity=request.diversity
    )
    item_ids = catalog.item_ids[positions]
    return Recommendations(item_ids, scores, model.recommender.predict_ratings(profile, item_ids))
