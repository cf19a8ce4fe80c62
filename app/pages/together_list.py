"""The list of several visitors: ids, favourites typed with commas between them, or watch lists as files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastapi import Request

from app.models.serving import ServingModel
from app.pages.cards import Card, build_card
from app.pages.preferences import Preferences
from app.pages.queries import MAX_GROUP, Controls, PageQuery, read_number
from app.pages.requests import build_filters, shows_adult
from app.pages.site import get_site
from app.pages.uploads import read_entries
from app.recommending.recommend import LIKED_RATING
from app.recommending.together import SharedList, recommend_together
from app.recommending.watch_lists import mark_items
from app.schemas.problems import ProblemError
from app.service import Service
from app.stores.user_history import read_history
from recsys.exceptions import UnknownTitleError
from recsys.recommender import UserProfile
from recsys.recommender.list_rules import ListOptions, Seasons
from recsys.types import Mask

MAX_TITLES = 20


@dataclass(frozen=True)
class SharedCard:
    """A card, and for each person the percentile 0..100 and the predicted rating."""

    card: Card
    shares: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class SharedCards:
    """Whose list it is, the cards, and notes about what was read as what."""

    group: tuple[str, ...]
    cards: tuple[SharedCard, ...]
    notes: tuple[str, ...]


async def build_together(
    request: Request,
    service: Service,
    model: ServingModel,
    query: PageQuery,
    preferences: Preferences,
    lists: Sequence[str] = (),
) -> SharedCards:
    """Build the list of two to five of a group: those of the query, and one for each packed watch list.

    Raises
    ------
    ProblemError
        404 or 422 naming the person of whom nothing is known.
    """
    if not 2 <= len(query.group) + len(lists) <= MAX_GROUP:
        raise ProblemError(422, "group-size", f"a group has two to {MAX_GROUP} users")
    group, profiles, notes = [], [], []
    adult = shows_adult(service, query)
    for number, text in enumerate(query.group, start=1):
        user_id = read_number(text, 0, 2**63 - 1)
        if user_id is not None:
            get_site(request).require_user(request, user_id)
            stored = await read_history(service.database, user_id)
            if stored is None or not len(stored.item_ids):
                raise ProblemError(404, "unknown-user", f"nothing is known of user {user_id}")
            known = model.recommender.catalog.contains(stored.item_ids)
            profiles.append(UserProfile(stored.item_ids[known], stored.ratings[known]))
            group.append(f"User {user_id}")
        else:
            profile, read = await service.workers.run(lambda text=text: _read_favourites(model, text, adult))  # type: ignore[misc]
            profiles.append(profile)
            notes += read
            group.append(f"Person {number}")
    allowed = model.filters.allow(build_filters(model, query.controls), adult=adult)
    for number, packed in enumerate(lists, start=1):
        profile, known = _read_list(model, packed)
        profiles.append(profile)
        allowed &= ~known
        group.append(f"List {number}")
    found = await service.workers.run(
        lambda: recommend_together(
            model, profiles, allowed, query.controls.length + len(query.dismissed) + 5, _read_options(query.controls)
        )
    )
    return SharedCards(tuple(group), _build_cards(model, found, group, query, preferences), tuple(notes))


def _read_options(controls: Controls) -> ListOptions:
    seasons: Seasons = "all" if controls.all_seasons else "next"
    return ListOptions(controls.variety / 100, -controls.niche / 100, seasons, without_disliked=True)


def _read_list(model: ServingModel, packed: str) -> tuple[UserProfile, Mask]:
    """Return what a list rates, and the titles that have any other status than planned, `(n_items,)`."""
    entries = read_entries(packed)
    statuses = {entry.item_id: entry.status for entry in entries}
    catalog = model.recommender.catalog
    ratings = {entry.item_id: entry.rating for entry in entries if entry.rating}
    item_ids = np.array(sorted(ratings), dtype=np.int64)
    item_ids = item_ids[catalog.contains(item_ids)]
    values = np.array([ratings[item_id] for item_id in item_ids.tolist()], dtype=np.float32)
    return UserProfile(item_ids, values), mark_items(model, statuses, planned=False)


def _read_favourites(model: ServingModel, text: str, adult: bool) -> tuple[UserProfile, list[str]]:
    ratings: dict[int, float] = {}
    notes = []
    for typed in [part.strip() for part in text.split(",") if part.strip()][:MAX_TITLES]:
        try:
            match = model.titles.resolve(typed, adult=adult)
        except UnknownTitleError as error:
            hint = f"; did you mean {' or '.join(error.suggestions[:3])}?" if error.suggestions else ""
            raise ProblemError(404, "unknown-title", f"no title matches “{typed}”{hint}") from error
        ratings[match.item_id] = LIKED_RATING
        if match.match not in ("exact", "alias"):
            notes.append(f"“{typed}” was read as {match.title}.")
    if not ratings:
        raise ProblemError(422, "nobody", "name a user id or at least one favourite for everybody")
    item_ids = sorted(ratings)
    values = np.array([ratings[item_id] for item_id in item_ids], dtype=np.float32)
    return UserProfile(np.array(item_ids, dtype=np.int64), values), notes


def _build_cards(
    model: ServingModel, found: SharedList, group: list[str], query: PageQuery, preferences: Preferences
) -> tuple[SharedCard, ...]:
    cards: list[SharedCard] = []
    for place, item_id in enumerate(found.item_ids.tolist()):
        if item_id in query.dismissed or len(cards) == query.controls.length:
            continue
        shares = zip(group, found.percentiles[place].tolist(), found.predicted_ratings[place].tolist(), strict=True)
        cards.append(SharedCard(build_card(model, item_id, preferences, len(cards) + 1), tuple(shares)))
    return tuple(cards)
