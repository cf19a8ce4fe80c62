"""What a request knows of titles besides ratings, and what that does to a list."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from app.models.serving import ServingModel
from app.recommending.lists import ExplainedList, make_list, read_options
from app.schemas.recommendations import RecommendRequest
from app.stores.user_history import History
from recsys.recommender import FoldedUser, UserProfile
from recsys.types import ItemId, Mask, WatchStatus


def merge_statuses(stored: History | None, request: RecommendRequest) -> dict[ItemId, WatchStatus]:
    """Return item to status; what is sent along counts more than what is stored, and the last of two entries holds."""
    known = dict(stored.statuses) if stored is not None else {}
    return known | {entry.item_id: entry.status for entry in request.watch_list}


def mark_items(model: ServingModel, statuses: Mapping[ItemId, WatchStatus], *, planned: bool) -> Mask:
    """Mark the titles of the catalog that are planned, or those that have any other status, `(n_items,)`."""
    catalog = model.recommender.catalog
    wanted = [item_id for item_id, status in statuses.items() if (status is WatchStatus.Planned) == planned]
    item_ids = np.array(wanted, dtype=np.int64)
    mask = np.zeros(len(catalog), dtype=np.bool_)
    mask[catalog.positions(item_ids[catalog.contains(item_ids)])] = True
    return mask


def find_listable(
    model: ServingModel, profile: UserProfile, allowed: Mask, statuses: Mapping[ItemId, WatchStatus]
) -> tuple[Mask, Mask]:
    """Return which allowed titles have no status but that of a plan, and which are planned, `(n_items,)` both."""
    planned = mark_items(model, statuses, planned=True)
    planned[model.recommender.catalog.positions(profile.item_ids)] = False  # what is rated was watched
    return allowed & ~mark_items(model, statuses, planned=False), planned


def make_list_around(
    model: ServingModel,
    request: RecommendRequest,
    user: FoldedUser,
    allowed: Mask,
    statuses: Mapping[ItemId, WatchStatus],
) -> ExplainedList:
    """Recommend without the titles that have a status, or with those that are planned before all others.

    Raises
    ------
    ProblemError
        As `make_list`.
    """
    allowed, planned = find_listable(model, user.profile, allowed, statuses)
    if request.candidates:  # the plan to watch itself may be what is to be ranked
        return make_list(model, request, user, allowed)
    if request.planned == "exclude" or not (allowed & planned).any():
        return make_list(model, request, user, allowed & ~planned)
    first = make_list(model, request, user, allowed & planned)
    n_left = request.k - len(first.found)
    if n_left <= 0:
        return first
    rest = allowed & ~planned
    if read_options(request).once_each:
        franchises = model.recommender.retriever.items.franchises
        rest &= ~np.isin(franchises, franchises[model.recommender.catalog.positions(first.found.item_ids)])
    return _join(first, make_list(model, request.model_copy(update={"k": n_left}), user, rest))


def _join(first: ExplainedList, rest: ExplainedList) -> ExplainedList:
    def concatenate(name: str) -> Any:
        """Join an array of both lists."""
        return np.concatenate([getattr(first.found, name), getattr(rest.found, name)])

    found = replace(first.found, **{name: concatenate(name) for name in ("item_ids", "scores", "predicted_ratings")})
    reasons = None if first.reasons is None or rest.reasons is None else [*first.reasons, *rest.reasons]
    return ExplainedList(found, reasons)
