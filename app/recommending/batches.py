"""From many requests and histories to responses, their lists made together."""

from collections.abc import Sequence
from typing import TypeAlias

from app.models.serving import ServingModel
from app.recommending.lists import ExplainedList, read_options
from app.recommending.recommend import UserContext, build_user_context, compose, show_watched
from app.recommending.watch_lists import find_listable
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendRequest, RecommendResponse
from app.stores.user_history import History
from recsys.exceptions import UnknownTitleError
from recsys.recommender.model import WantedList
from recsys.recommender.retriever import RANKER
from recsys.types import Mask

Outcome: TypeAlias = RecommendResponse | ProblemError | UnknownTitleError
_Prepared: TypeAlias = tuple[UserContext, Mask]


def is_plain(request: RecommendRequest) -> bool:
    """Whether a request is for a list that can be made together with others: one of the ranker, without reasons."""
    return (
        request.algorithm == RANKER
        and not isinstance(request.user_input, str)
        and not request.explain
        and not request.candidates
        and request.planned == "exclude"
    )


def recommend_batch(
    model: ServingModel,
    requests: Sequence[RecommendRequest],
    histories: Sequence[History | None],
    *,
    shows_history: bool,
    shows_watched: bool,
) -> list[Outcome]:
    """Build the responses to plain requests, each as `app.recommending.recommend.recommend` does, or what it raises.

    Parameters
    ----------
    histories
        Of the users, in the order of the requests; None for an anonymous or unknown one.
    shows_watched
        Whether `watched` is filled.
    """
    prepared: dict[int, _Prepared] = {}
    outcomes: dict[int, Outcome] = {}
    for place, (request, history) in enumerate(zip(requests, histories, strict=True)):
        try:
            prepared[place] = _prepare(model, request, history)
        except (ProblemError, UnknownTitleError) as error:
            outcomes[place] = error
    wanted = [
        WantedList(context.profile, requests[place].k, allowed, read_options(requests[place]))
        for place, (context, allowed) in prepared.items()
    ]
    lists = model.recommender.recommend_many(wanted)
    for (place, (context, _)), found in zip(prepared.items(), lists, strict=True):
        is_hidden = not shows_history and isinstance(requests[place].user_input, int)
        shown = shows_watched and not is_hidden
        watched = show_watched(model, model.recommender.fold(context.profile)) if shown else []
        outcomes[place] = compose(model, context, ExplainedList(found), watched, request_id="", is_hidden=is_hidden)
    return [outcomes[place] for place in range(len(requests))]


def _prepare(model: ServingModel, request: RecommendRequest, history: History | None) -> _Prepared:
    allowed = model.filters.allow(request.filters, adult=bool(request.adult))
    context = build_user_context(model, request, lambda _: history)
    allowed[model.recommender.catalog.positions(context.excluded_item_ids)] = False
    listable, planned = find_listable(model, context.profile, allowed, context.statuses)
    return context, listable & ~planned
