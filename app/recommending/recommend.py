"""From a request, a model version and the user's history to a response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.models.serving import ServingModel
from app.recommending.lists import ExplainedList, make_similar_list
from app.recommending.watch_lists import make_list_around, merge_statuses
from app.schemas.operations import ServedModel
from app.schemas.problems import ProblemError
from app.schemas.recommendations import (
    Alternative,
    Kind,
    RecommendedItem,
    RecommendRequest,
    RecommendResponse,
    ResolvedTitle,
    WatchedItem,
)
from app.stores.user_history import History
from recsys.data.titles import TitleMatch
from recsys.recommender import FoldedUser, Recommendations, UserProfile, build_profile
from recsys.recommender.list_rules import find_watched
from recsys.recommender.watched import predict_watched
from recsys.storage.scored_lists import ScoredList
from recsys.types import Floats, Ids, ItemId, Mask, WatchStatus

LIKED_RATING = 9  # rating assumed for a title in `liked`

ReadHistory = Callable[[int], History | None]


@dataclass(frozen=True)
class UserContext:
    """The user of a request: kind, profile, ids that the catalog does not hold, titles that are excluded, statuses.

    `excluded_item_ids` were dismissed, or watched and not rated.
    """

    kind: Kind
    profile: UserProfile
    ignored_item_ids: list[int]
    excluded_item_ids: Ids
    statuses: Mapping[ItemId, WatchStatus]


def recommend(
    model: ServingModel,
    request: RecommendRequest,
    read_history: ReadHistory,
    *,
    request_id: str,
    shows_history: bool = True,
) -> RecommendResponse:
    """Build the response of one model version.

    Parameters
    ----------
    read_history
        Called with the user id if the request has one; None for an unknown id.
    shows_history
        False for those who may ask for the lists of a user and read nothing stored: `watched` is empty then, and `kind`
        the same for an id that nobody has.

    Raises
    ------
    UnknownTitleError
        If the title or a liked one matches nothing.
    ProblemError
        If a genre, type or age rating is unknown, or fields contradict each other.
    """
    allowed = model.filters.allow(request.filters, adult=bool(request.adult))
    if isinstance(request.user_input, str):
        return _recommend_similar(model, request, request.user_input, allowed, request_id)
    context = build_user_context(model, request, read_history)
    allowed[model.recommender.catalog.positions(context.excluded_item_ids)] = False
    user = model.recommender.fold(context.profile)
    made = make_list_around(model, request, user, allowed, context.statuses)
    is_hidden = not shows_history and isinstance(request.user_input, int)
    watched = [] if is_hidden else show_watched(model, user)
    return compose(model, context, made, watched, request_id=request_id, is_hidden=is_hidden)


def is_bare(request: RecommendRequest) -> bool:
    """Whether a request names a user of the database and how many titles, and nothing else."""
    bare = RecommendRequest(user_input=request.user_input, k=request.k, adult=request.adult)
    return isinstance(request.user_input, int) and request == bare


def find_usable(
    scored: ScoredList | None, model: ServingModel, request: RecommendRequest, history: History
) -> ScoredList | None:
    """Return a stored list if it is what this version would answer now to the user of the history."""
    if scored is None:
        return None
    wanted = (model.version, request.k, bool(request.adult), history.digest)
    return scored if (scored.version, scored.k, scored.adult, scored.user_digest) == wanted else None


def show_scored(
    model: ServingModel, request: RecommendRequest, history: History, scored: ScoredList, *, shows_history: bool
) -> RecommendResponse:
    """Build the response of a stored list; the same as `recommend` for a request that names a user and no more."""
    context = build_user_context(model, request, lambda _: history)
    made = ExplainedList(Recommendations(scored.item_ids, scored.scores, scored.predicted_ratings))
    watched = _view_watched(model, context.profile, scored.watched_item_ids, scored.watched_predictions)
    return compose(model, context, made, watched if shows_history else [], request_id="", is_hidden=not shows_history)


def compose(
    model: ServingModel,
    context: UserContext,
    made: ExplainedList,
    watched: list[WatchedItem],
    *,
    request_id: str,
    is_hidden: bool,
) -> RecommendResponse:
    """Put the response to a user together.

    Parameters
    ----------
    is_hidden
        Whether nothing may tell of the stored history.
    """
    return RecommendResponse(
        kind="existing_user" if is_hidden else context.kind,
        resolved=None,
        watched=watched,
        recommendations=model.item_views.show_recommendations(made.found, made.reasons)
        if is_hidden  # what was not watched tells what was
        else show_list(model, made, context.profile),
        ignored_item_ids=context.ignored_item_ids,
        model=show_model(model),
        request_id=request_id,
    )


def _recommend_similar(
    model: ServingModel, request: RecommendRequest, title: str, allowed: Mask, request_id: str
) -> RecommendResponse:
    fields = {"user_preferences": "user_preferences", "ratings": "ratings", "watch_list": "list", "liked": "liked"}
    given = [shown for name, shown in fields.items() if getattr(request, name)]
    if given:
        detail = f"{' and '.join(given)} cannot be combined with a title in user_input; leave it out"
        raise ProblemError(422, "contradiction", detail)
    match = model.titles.resolve(title, adult=bool(request.adult))
    made = make_similar_list(model, request, match.item_id, allowed)
    return RecommendResponse(
        kind="similar_items",
        resolved=show_match(match),
        watched=[],
        recommendations=show_list(model, made, UserProfile(seen_item_ids=np.array([match.item_id]))),
        ignored_item_ids=[],
        model=show_model(model),
        request_id=request_id,
    )


def show_list(model: ServingModel, made: ExplainedList, profile: UserProfile) -> list[RecommendedItem]:
    """Return the views of a list, each with the seasons before it that the user has not watched."""
    catalog, order = model.recommender.catalog, model.recommender.retriever.items.season_order
    watched = find_watched(profile, catalog)
    unseen = [
        [int(catalog.item_ids[other]) for other in order.list_before(position) if not watched[other]]
        for position in catalog.positions(made.found.item_ids).tolist()
    ]
    return model.item_views.show_recommendations(made.found, made.reasons, unseen)


def build_user_context(model: ServingModel, request: RecommendRequest, read_history: ReadHistory) -> UserContext:
    """Merge the stored history with ratings, likes and preferences of the request.

    The request takes precedence over what is stored, a rating over a like.
    """
    tastes = {model.filters.genres.find(genre): weight for genre, weight in request.genre_weights.items()}
    ratings: dict[int, float] = {}
    stored = read_history(request.user_input) if isinstance(request.user_input, int) else None
    if stored is not None:
        ratings |= dict(zip(stored.item_ids.tolist(), stored.ratings.tolist(), strict=True))
    for liked in request.liked:
        item_id = liked if isinstance(liked, int) else model.titles.resolve(liked, adult=bool(request.adult)).item_id
        ratings[item_id] = LIKED_RATING
    ratings |= {entry.item_id: float(entry.rating) for entry in request.watch_list if entry.rating}
    ratings |= {int(item_id): float(rating) for item_id, rating in request.ratings.items()}
    unrated = [item_id for item_id, rating in ratings.items() if rating == 0]
    sent = {int(item_id) for item_id in request.ratings} | {liked for liked in request.liked if isinstance(liked, int)}
    sent |= {entry.item_id for entry in request.watch_list}
    kind: Kind = "new_user"
    if stored is not None:
        kind = "existing_user"
    elif any(request.ratings.values()) or request.liked or any(entry.rating for entry in request.watch_list):
        kind = "new_user_with_history"
    elif tastes:
        kind = "new_user_with_preferences"
    dismissed = stored.dismissed_item_ids if stored is not None else ()
    statuses = merge_statuses(stored, request)
    catalog = model.recommender.catalog
    profile = build_profile(
        catalog,
        {item_id: rating for item_id, rating in ratings.items() if rating},
        statuses=statuses,
        tastes=tastes,
        shares=stored.genre_shares if stored is not None else {},
        unrated=unrated,
    )
    excluded = catalog.select_known([*dismissed, *unrated])
    return UserContext(kind, profile, _find_ignored(model, sent), excluded, statuses)


def _find_ignored(model: ServingModel, item_ids: set[ItemId]) -> list[ItemId]:
    """Return those of the ids sent along that the catalog does not hold, ascending."""
    ordered = np.array(sorted(item_ids), dtype=np.int64)
    ignored: list[ItemId] = ordered[~model.recommender.catalog.contains(ordered)].tolist()
    return ignored


def show_watched(model: ServingModel, user: FoldedUser) -> list[WatchedItem]:
    """Return the best rated titles of a history, ties by popularity."""
    return _view_watched(model, user.profile, *predict_watched(model.recommender, user))


def _view_watched(model: ServingModel, profile: UserProfile, item_ids: Ids, predicted: Floats) -> list[WatchedItem]:
    given = dict(zip(profile.item_ids.tolist(), profile.ratings.tolist(), strict=True))
    rows = zip(item_ids.tolist(), model.item_views.titles(item_ids), predicted.tolist(), strict=True)
    shown = [
        WatchedItem(item_id=item_id, title=title, rating=int(given[item_id]), predicted_rating=prediction)
        for item_id, title, prediction in rows
    ]
    return sorted(shown, key=lambda item: (-item.rating, -item.predicted_rating))


def show_match(match: TitleMatch) -> ResolvedTitle:
    """Return the title that a text resolved to."""
    alternatives = [
        Alternative(item_id=other.item_id, title=other.title, confidence=other.confidence)
        for other in match.alternatives
    ]
    return ResolvedTitle(
        item_id=match.item_id,
        title=match.title,
        match=match.match,
        confidence=match.confidence,
        alternatives=alternatives,
    )


def show_model(model: ServingModel) -> ServedModel:
    """Return the model version of the response."""
    return ServedModel(name=model.name, version=model.version, run_id=model.run_id)
