"""Recommendation lists by algorithm, with diversity and reasons on request."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from app.models.serving import ServingModel
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendRequest
from recsys.exceptions import UnknownAlgorithmError
from recsys.ranking.explanations import Reason
from recsys.recommender import FoldedUser, Recommendations, UserProfile
from recsys.recommender.comparing import compare_items
from recsys.recommender.explaining import explain, explain_similar
from recsys.recommender.list_rules import ListOptions
from recsys.recommender.retriever import RANKER
from recsys.retrieval.base import ComparesTitles
from recsys.types import ItemId, Mask, Positions

MAX_EXPLAINED: Final = 20  # titles of a list that get reasons: each costs several scorings
BEST_RATING: Final = 10.0  # of a requested title, where it stands for a history

Reasons = list[tuple[Reason, ...]]


@dataclass(frozen=True)
class ExplainedList:
    """Recommendations, best first, with reasons if requested."""

    found: Recommendations
    reasons: Reasons | None = None


def read_options(request: RecommendRequest) -> ListOptions:
    """Read the options of a list; given candidates are all ranked, in any order of seasons."""
    seasons = request.seasons or ("all" if request.candidates else "next")
    return ListOptions(request.diversity, request.popularity, seasons, without_disliked=not request.candidates)


def make_list(
    model: ServingModel, request: RecommendRequest, user: UserProfile | FoldedUser, allowed: Mask
) -> ExplainedList:
    """Recommend to a user.

    Raises
    ------
    ProblemError
        422 with the available ones, if the version does not hold the algorithm.
    """
    try:
        found = model.recommender.recommend(
            user,
            k=request.k,
            allowed=allowed,
            algorithm=request.algorithm,
            options=read_options(request),
            candidates=find_candidates(model, request),
        )
    except UnknownAlgorithmError as error:
        raise _to_problem(error) from error
    if not request.explain:
        return ExplainedList(found)
    n = MAX_EXPLAINED
    first = Recommendations(found.item_ids[:n], found.scores[:n], found.predicted_ratings[:n])
    reasons = explain(model.recommender, user, first, request.algorithm)
    return ExplainedList(found, [*reasons, *[()] * (len(found) - len(first))])


def find_candidates(model: ServingModel, request: RecommendRequest) -> Positions | None:
    """Return the positions of the only titles to rank, without those that the catalog does not hold; None for all."""
    if not request.candidates:
        return None
    catalog = model.recommender.catalog
    item_ids = np.unique(np.array(request.candidates, dtype=np.int64))
    return catalog.positions(item_ids[catalog.contains(item_ids)])


def make_similar_list(model: ServingModel, request: RecommendRequest, item_id: ItemId, allowed: Mask) -> ExplainedList:
    """Recommend titles similar to one title.

    A model that answers alone gets a history of that title only, unless it compares titles itself; one without personal
    scores gets its genres.

    Raises
    ------
    ProblemError
        422 with the algorithms of the model if it does not hold the requested one.
    """
    options = read_options(request)
    candidates = find_candidates(model, request)
    if candidates is not None:
        allowed = allowed & np.isin(np.arange(len(allowed)), candidates)
    if request.algorithm == RANKER:
        found = model.recommender.similar_items(item_id, k=request.k, allowed=allowed, options=options)
        reasons = explain_similar(model.recommender, item_id, found.item_ids) if request.explain else None
        return ExplainedList(found, reasons)
    allowed[model.recommender.catalog.positions([item_id])] = False
    try:
        generator = model.recommender.retriever.get_generator(request.algorithm)
    except UnknownAlgorithmError as error:
        raise _to_problem(error) from error
    if isinstance(generator, ComparesTitles):
        found, reasons = compare_items(
            model.recommender, generator, item_id, k=request.k, allowed=allowed, options=options
        )
        return ExplainedList(found, reasons if request.explain else None)
    if generator.personal:
        profile = UserProfile(np.array([item_id]), np.array([BEST_RATING], dtype=np.float32))
    else:
        profile = UserProfile(genre_weights=dict.fromkeys(model.item_views.show_item(item_id).genres, 1.0))
    return make_list(model, request, model.recommender.fold(profile), allowed)


def _to_problem(error: UnknownAlgorithmError) -> ProblemError:
    return ProblemError(422, "unknown-algorithm", str(error), suggestions=error.available)
