"""From a request of a group and the histories of its members to a response."""

from collections.abc import Sequence

import numpy as np

from app.models.serving import ServingModel
from app.recommending.recommend import build_user_context, show_model
from app.recommending.watch_lists import mark_items
from app.schemas.groups import GroupItem, GroupMember, GroupRequest, GroupResponse, MemberShare
from app.schemas.recommendations import Filters, RecommendRequest
from app.stores.user_history import History
from recsys.recommender import UserProfile
from recsys.recommender.list_rules import ListOptions
from recsys.recommender.together import SharedList, recommend_together
from recsys.types import Mask


def recommend_to_group(
    model: ServingModel,
    request: GroupRequest,
    histories: Sequence[History | None],
    *,
    adult: bool,
    request_id: str,
) -> GroupResponse:
    """Build the response of one model version.

    Parameters
    ----------
    histories
        Of the members; None for an anonymous one. An id that nobody has counts as one, so that nothing is told about
        which ids exist.

    Raises
    ------
    ProblemError
        422 if a genre, type or age rating is unknown.
    """
    options = ListOptions(seasons=request.seasons, without_disliked=True)
    found = rank_for_group(model, request.members, histories, request.filters, request.k, options, adult=adult)
    items = []
    for place, item_id in enumerate(found.item_ids.tolist()):
        shown = model.item_views.show_item(item_id)
        shares = zip(found.percentiles[place].tolist(), found.predicted_ratings[place].tolist(), strict=True)
        items.append(
            GroupItem(
                rank=place + 1,
                item_id=item_id,
                title=shown.title,
                genres=shown.genres,
                type=shown.type,
                score=float(found.scores[place]),
                mean_percentile=float(found.percentiles[place].mean()),
                members=[MemberShare(percentile=share, predicted_rating=rating) for share, rating in shares],
            )
        )
    return GroupResponse(recommendations=items, model=show_model(model), request_id=request_id)


def rank_for_group(
    model: ServingModel,
    members: Sequence[GroupMember],
    histories: Sequence[History | None],
    filters: Filters,
    k: int,
    options: ListOptions,
    *,
    adult: bool,
) -> SharedList:
    """Rank titles for several users; what one of them watched, dropped or dismissed is left out.

    Parameters
    ----------
    histories
        Of the members, in their order; None for an anonymous one.

    Raises
    ------
    UnknownTitleError
        If a liked title matches nothing.
    ProblemError
        422 if a genre, type or age rating is unknown.
    """
    allowed = model.filters.allow(filters, adult=adult)
    profiles = []
    for member, history in zip(members, histories, strict=True):
        profile, left = _read_member(model, member, history, adult=adult)
        profiles.append(profile)
        allowed &= left
    return recommend_together(model.recommender, profiles, allowed, k, options)


def _read_member(
    model: ServingModel, member: GroupMember, history: History | None, *, adult: bool
) -> tuple[UserProfile, Mask]:
    """Return the profile of a member, and which titles the member leaves to be listed, `(n_items,)`."""
    body = member.model_dump(by_alias=True) | {"adult": adult}
    context = build_user_context(model, RecommendRequest.model_validate(body), lambda _: history)
    left = ~mark_items(model, context.statuses, planned=False)
    left[model.recommender.catalog.positions(context.excluded_item_ids)] = False
    return context.profile, np.asarray(left)
