"""The list of several visitors: ids, or favourites typed with commas between them."""

from dataclasses import dataclass

import numpy as np
from fastapi import Request

from app.models.serving import ServingModel
from app.pages.cards import Card, build_card
from app.pages.preferences import Preferences
from app.pages.queries import PageQuery, read_number
from app.pages.requests import build_filters, shows_adult
from app.pages.site import get_site
from app.recommending.recommend import LIKED_RATING
from app.recommending.together import SharedList, recommend_together
from app.schemas.problems import ProblemError
from app.service import Service
from app.stores.user_history import read_history
from recsys.exceptions import UnknownTitleError
from recsys.recommender import UserProfile

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
    request: Request, service: Service, model: ServingModel, query: PageQuery, preferences: Preferences
) -> SharedCards:
    """Build the list of two to five of a group.

    Raises
    ------
    ProblemError
        404 or 422 naming the person of whom nothing is known.
    """
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
    found = await service.workers.run(
        lambda: recommend_together(model, profiles, allowed, query.controls.length + len(query.dismissed) + 5)
    )
    return SharedCards(tuple(group), _build_cards(model, found, group, query, preferences), tuple(notes))


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
