"""The list of several visitors: ids, favourites typed with commas between them, or watch lists as files."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from app.models.serving import ServingModel
from app.pages.cards import Card, build_card
from app.pages.preferences import Preferences
from app.pages.queries import Controls, PageQuery, read_number
from app.pages.requests import SPARE, build_filters, shows_adult
from app.pages.site import get_site
from app.pages.uploads import read_entries
from app.recommending.groups import rank_for_group
from app.schemas.groups import MAX_GROUP, GroupMember
from app.schemas.problems import ProblemError
from app.service import Service
from app.stores.user_history import History, read_history
from recsys.exceptions import UnknownTitleError
from recsys.recommender.list_rules import ListOptions, Seasons
from recsys.recommender.together import SharedList

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
    adult = shows_adult(service, query)
    group = [
        await _find_member(request, service, model, text, number, adult=adult)
        for number, text in enumerate(query.group, start=1)
    ]
    group += [
        _Member(f"List {number}", GroupMember(list=read_entries(packed)))
        for number, packed in enumerate(lists, start=1)
    ]
    filters, options = build_filters(model, query.controls), _read_options(query.controls)
    wanted = query.controls.length + len(query.dismissed) + SPARE
    asked, histories = [member.asked for member in group], [member.history for member in group]
    found = await service.workers.run(
        lambda: rank_for_group(model, asked, histories, filters, wanted, options, adult=adult)
    )
    names = tuple(member.name for member in group)
    notes = tuple(note for member in group for note in member.notes)
    return SharedCards(names, _build_cards(model, found, names, query, preferences), notes)


@dataclass(frozen=True)
class _Member:
    """One of a group: the name on the page, what is asked for them, what is stored of them, and notes."""

    name: str
    asked: GroupMember
    history: History | None = None
    notes: tuple[str, ...] = ()


def _read_options(controls: Controls) -> ListOptions:
    seasons: Seasons = "all" if controls.all_seasons else "next"
    return ListOptions(controls.variety / 100, -controls.niche / 100, seasons, without_disliked=True)


async def _find_member(
    request: Request, service: Service, model: ServingModel, text: str, number: int, *, adult: bool
) -> _Member:
    """Read a text as the id of a user or as favourites."""
    user_id = read_number(text, 0, 2**63 - 1)
    if user_id is None:
        liked, notes = await service.workers.run(lambda: _read_favourites(model, text, adult))
        return _Member(f"Person {number}", GroupMember(liked=liked), notes=tuple(notes))
    get_site(request).require_user(request, user_id)
    stored = await read_history(service.database, user_id)
    if stored is None:
        raise ProblemError(404, "unknown-user", f"nothing is known of user {user_id}")
    return _Member(f"User {user_id}", GroupMember(user_input=user_id), stored)


def _read_favourites(model: ServingModel, text: str, adult: bool) -> tuple[list[int | str], list[str]]:
    """Return the ids of typed titles, and notes about those that were read as others."""
    liked: dict[int | str, None] = {}
    notes = []
    for typed in [part.strip() for part in text.split(",") if part.strip()][:MAX_TITLES]:
        try:
            match = model.titles.resolve(typed, adult=adult)
        except UnknownTitleError as error:
            hint = f"; did you mean {' or '.join(error.suggestions[:3])}?" if error.suggestions else ""
            raise ProblemError(404, "unknown-title", f"no title matches “{typed}”{hint}") from error
        liked[match.item_id] = None
        if match.match not in ("exact", "alias"):
            notes.append(f"“{typed}” was read as {match.title}.")
    if not liked:
        raise ProblemError(422, "nobody", "name a user id or at least one favourite for everybody")
    return list(liked), notes


def _build_cards(
    model: ServingModel, found: SharedList, group: tuple[str, ...], query: PageQuery, preferences: Preferences
) -> tuple[SharedCard, ...]:
    cards: list[SharedCard] = []
    for place, item_id in enumerate(found.item_ids.tolist()):
        if item_id in query.dismissed or len(cards) == query.controls.length:
            continue
        shares = zip(group, found.percentiles[place].tolist(), found.predicted_ratings[place].tolist(), strict=True)
        cards.append(SharedCard(build_card(model, item_id, preferences, len(cards) + 1), tuple(shares)))
    return tuple(cards)
