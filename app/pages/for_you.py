"""`/`: who is asked for, and the list of cards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import ImmutableMultiDict

from app.guard.workers import OverloadedError
from app.models.serving import ServingModel
from app.pages.cards import Card, build_card, build_cards
from app.pages.preferences import Preferences, read_preferences
from app.pages.queries import LENGTHS, MODES, WEIGHTS, PageQuery, read_query, read_text
from app.pages.rendering import render
from app.pages.requests import MUSIC, build_request, drop_defaults, is_adult, keep_known, list_algorithms, shows_adult
from app.pages.site import VisitorRoute, get_site
from app.pages.together_list import SharedCards, build_together
from app.responses import build_response
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendResponse
from app.schemas.watch_lists import ListItem
from app.service import ModelDep, Service, ServiceDep
from recsys.exceptions import ServiceUnavailableError, UnknownTitleError

router = APIRouter(include_in_schema=False, route_class=VisitorRoute)
N_QUICK: Final = 12
LABELS: Final = {
    "favourites": "Favourites",
    "list": "My list",
    "user": "My id",
    "taste": "By taste",
    "like": "Like this",
    "together": "Together",
}
ALGORITHM_NAMES: Final = {"ranker": "The whole recommender"}


@dataclass
class Trouble:
    """What keeps a page from showing a list: one sentence, titles that are perhaps meant, and the status."""

    sentence: str
    status: int = 422
    suggestions: list[tuple[str, str]] = field(default_factory=list)  # text, address


@dataclass(frozen=True)
class _Answer:
    """What a page lists, and the model version that made it."""

    model: ServingModel
    response: RecommendResponse | None = None
    cards: list[Card] = field(default_factory=list)
    shared: SharedCards | None = None


@router.get("/")
async def get_for_you(request: Request, service: ServiceDep, model: ModelDep) -> Response:
    """Show the form and, once it says who is asked for, the list."""
    query = drop_defaults(model, read_query(ImmutableMultiDict(request.query_params.multi_items())))
    typed = read_text(request.query_params.get("add"))
    if typed:
        return await _add_favourite(request, service, model, query, typed)
    return await show_list(request, service, model, query)


async def _add_favourite(
    request: Request, service: Service, model: ServingModel, query: PageQuery, typed: str
) -> Response:
    """Resolve a typed favourite and go on to the address that holds it, or ask what was meant."""
    try:
        adult = shows_adult(service, query)
        match = await service.workers.run(lambda: model.titles.resolve(typed, adult=adult))
    except UnknownTitleError as error:
        trouble = Trouble(f"No title matches “{typed}”.", 404, _suggest(model, query, error.suggestions))
        return await show_list(request, service, model, query, trouble=trouble)
    changed = query.change(favourites={**query.favourites, match.item_id: query.favourites.get(match.item_id)})
    response = RedirectResponse(changed.to_url(), 303)
    if match.match not in ("exact", "alias"):
        others = [other.title for other in match.alternatives[:3]]
        hint = f" Did you mean {' or '.join(others)}?" if others else ""
        note = f"“{typed}” was read as {match.title}.{hint}"
        get_site(request).leave_note(request, response, note)
    return response


def _suggest(model: ServingModel, query: PageQuery, titles: list[str]) -> list[tuple[str, str]]:
    """Return the titles that are perhaps meant, each with the address that takes it."""
    found = []
    for title in titles:
        item_id = model.titles.resolve(title, adult=True).item_id
        changed = query.change(favourites={**query.favourites, item_id: None})
        if query.mode == "like":
            changed = query.change(like=title)
        found.append((title, changed.to_url()))
    return found


async def show_list(
    request: Request,
    service: Service,
    model: ServingModel,
    query: PageQuery,
    entries: list[ListItem] | None = None,
    trouble: Trouble | None = None,
    lists: Sequence[str] = (),
) -> Response:
    """Render the page; what goes wrong is told above the form, with the status of a problem.

    Parameters
    ----------
    entries
        The watch list to recommend from, where it came as a file.
    lists
        Watch lists of users who look for something together, packed.
    """
    query = drop_defaults(model, query)
    preferences = read_preferences(request)
    answer = _Answer(model)
    try:
        answer = await _build_answer(request, service, model, query, entries, lists)
    except UnknownTitleError as error:
        sentence = f"No title matches “{error.title}”."
        trouble = Trouble(sentence, 404, _suggest(model, query, error.suggestions))
    except ProblemError as error:
        trouble = Trouble(f"{error.detail[:1].upper()}{error.detail[1:]}.", error.status)
    except ServiceUnavailableError:
        sentence = "The user database does not answer. Favourites, tastes and dropped lists work all the same."
        trouble = Trouble(sentence, 503)
    except OverloadedError:
        trouble = Trouble("Too many visitors are waiting; try again in a few seconds.", 503)
    model, response = answer.model, answer.response
    values = {
        **_describe_form(request, model, query, preferences, adult=shows_adult(service, query)),
        "trouble": trouble,
        "response": response,
        "shared": answer.shared,
        "cards": answer.cards,
        # A favourite without a rating is no rating to compare with.
        "rated": [seen for seen in response.watched if query.favourites.get(seen.item_id, 0) is not None]
        if response is not None
        else [],
        "entries": entries,
        "lists": lists,
        "may_rate": query.mode in ("favourites", "user", "taste", "like"),
        "unknown_user": query.mode == "user" and response is not None and response.kind != "existing_user",
        "titles": _list_titles(model, query, response, preferences),
    }
    return render(request, "for_you.html", values, trouble.status if trouble else 200)


async def _build_answer(
    request: Request,
    service: Service,
    model: ServingModel,
    query: PageQuery,
    entries: list[ListItem] | None,
    lists: Sequence[str],
) -> _Answer:
    """Build the list of whoever the query names; empty if it names nobody yet."""
    preferences = read_preferences(request)
    if query.mode == "together" and (query.names_someone or lists):
        return _Answer(model, shared=await build_together(request, service, model, query, preferences, lists))
    if not query.names_someone and entries is None:
        return _Answer(model)
    if query.mode == "user" and query.user is not None:
        get_site(request).require_user(request, query.user)
    wanted = build_request(model, query, entries or [])
    built = await build_response(service, model, wanted, request.state.request_id)
    response = built.parse()
    request.state.kind = response.kind
    hidden = {*query.dismissed, *(query.planned if query.mode != "user" else ())}
    if query.mode in ("taste", "like"):
        hidden |= query.favourites.keys()
    length = query.controls.length
    cards = build_cards(built.model, response.recommendations, preferences, length=length, hidden=hidden)
    return _Answer(built.model, response, cards)


def _list_titles(
    model: ServingModel, query: PageQuery, response: RecommendResponse | None, preferences: Preferences
) -> dict[int, str]:
    """Name the titles that the page mentions by id."""
    mentioned = {*query.favourites, *query.planned, *query.dismissed, *query.controls.left_out}
    if response is not None:
        mentioned |= {entry.item_id for entry in response.watched}
    known = keep_known(model, mentioned)
    return {item_id: preferences.choose_title(model.item_views.show_item(item_id)) for item_id in known}


def _describe_form(
    request: Request, model: ServingModel, query: PageQuery, preferences: Preferences, *, adult: bool
) -> dict[str, Any]:
    """Return what the form needs: modes, the values of the catalog, titles for a quick start."""
    known = model.filters
    hidden = known.adult & (not adult)
    genres = [genre for genre, carried in known.genres.masks.items() if (carried & ~hidden).any()]
    popular = (int(model.recommender.catalog.item_ids[place]) for place in model.by_popularity[: 3 * N_QUICK])
    quick = [item_id for item_id in popular if item_id not in query.favourites and not is_adult(model, item_id)]
    site = get_site(request)
    return {
        "query": query,
        "model": model,
        "labels": {mode: LABELS[mode] for mode in LABELS if mode in MODES},
        "algorithm_names": ALGORITHM_NAMES,
        "genres": sorted(genres),
        "types": [value for value in known.types.masks if value != MUSIC]
        + ([MUSIC] if MUSIC in known.types.masks else []),
        "ages": [value for value, carried in known.age_ratings.masks.items() if (carried & ~hidden).any()],
        "algorithms": list_algorithms(model),
        "lengths": LENGTHS,
        "weights": WEIGHTS,
        "own_users": site.list_users(request),
        "asks_own_users": site.needs_key,
        "quick": [build_card(model, item_id, preferences) for item_id in quick[:N_QUICK]],
    }
