"""`/list`: a watch list as a file: shown first, then used, and stored only if that is asked for."""

import datetime as dt
import re
from collections import Counter
from typing import Annotated, Final

from fastapi import APIRouter, File, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.datastructures import FormData, ImmutableMultiDict

from app.models.serving import ServingModel
from app.pages.for_you import show_list
from app.pages.preferences import read_preferences
from app.pages.queries import PageQuery, read_query
from app.pages.rendering import render
from app.pages.requests import is_adult
from app.pages.site import SiteDep, VisitorRoute
from app.schemas.base import MAX_RATINGS
from app.schemas.problems import ProblemError
from app.schemas.watch_lists import ListItem
from app.service import ModelDep, ServiceDep
from recsys.data.lists.entries import WatchList
from recsys.data.lists.formats import parse_watch_list
from recsys.data.lists.matching import MatchedEntry, MatchedList, match_watch_list
from recsys.exceptions import WatchListError, WatchListTooLargeError
from recsys.storage.users import register_user
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus

PATH: Final = "/list"
SHOWN: Final = 50
_STATUSES: Final = {status.value[0]: status for status in WatchStatus}
_ENTRY: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,2})\.([a-z])")
_ORDER: Final = {WatchStatus.Completed: 0, WatchStatus.Watching: 1}

router = APIRouter(include_in_schema=False, route_class=VisitorRoute)


@router.post(PATH)
async def post_list(
    request: Request, service: ServiceDep, model: ModelDep, site: SiteDep, file: Annotated[UploadFile, File()]
) -> Response:
    """Read a file and show what it holds."""
    form = await request.form()
    site.check_form(request, form.get("token"))
    content = await file.read()
    query = read_query(_get_texts(form)).change(mode="list")
    try:
        read, matched = await service.workers.run(lambda: _read(model, content))
    except WatchListError as error:
        status = 413 if isinstance(error, WatchListTooLargeError) else 422
        raise ProblemError(status, "unreadable-list", str(error)) from error
    preferences = read_preferences(request)
    shown = sorted(matched.entries, key=lambda entry: (-(entry.rating or 0), _ORDER.get(entry.status, 2), entry.title))
    values = {
        "query": query,
        "read": read,
        "matched": matched,
        "entries": pack_entries(matched.entries[:MAX_RATINGS]),
        "statuses": Counter(entry.status.value.replace("_", " ") for entry in matched.entries),
        "shown": [
            (entry, preferences.choose_title(model.item_views.show_item(entry.item_id)))
            for entry in shown
            if not is_adult(model, entry.item_id)
        ][:SHOWN],
        "n_rated": len(matched.ratings),
        "notes": dict(read.notes),
    }
    return render(request, "list_preview.html", values)


def _read(model: ServingModel, content: bytes) -> tuple[WatchList, MatchedList]:
    read = parse_watch_list(content)
    return read, match_watch_list(read, model.recommender.catalog, model.titles)


def _get_texts(form: FormData) -> ImmutableMultiDict[str, str]:
    return ImmutableMultiDict([(name, value) for name, value in form.multi_items() if isinstance(value, str)])


def pack_entries(entries: tuple[MatchedEntry, ...]) -> str:
    """Write entries as `id.rating.status`, a few bytes each, for a hidden field of a form."""
    return " ".join(f"{entry.item_id}.{entry.rating or 0}.{_get_code(entry.status)}" for entry in entries)


def _get_code(status: WatchStatus) -> str:
    return status.value[0]


def read_entries(text: str) -> list[ListItem]:
    """Read what `pack_entries` wrote, as hostile as any form: what is not of that form is left out."""
    found = []
    for part in text.split()[:MAX_RATINGS]:
        match = _ENTRY.fullmatch(part)
        if match and int(match[2]) <= 10 and match[3] in _STATUSES:
            found.append(ListItem(item_id=int(match[1]), rating=int(match[2]), status=_STATUSES[match[3]]))
    return found


@router.post(f"{PATH}/recommendations")
async def post_recommendations(request: Request, service: ServiceDep, model: ModelDep, site: SiteDep) -> Response:
    """Recommend from a list that was shown before; the form holds it, nothing is stored."""
    query, entries = await _read_form(request, site)
    return await show_list(request, service, model, query, entries)


@router.post(f"{PATH}/store")
async def post_store(request: Request, service: ServiceDep, model: ModelDep, site: SiteDep) -> Response:
    """Store a list that was shown before for a new user, and go on as that user."""
    query, entries = await _read_form(request, site)
    known = [entry for entry in entries if model.recommender.catalog.contains([entry.item_id])[0]]
    ratings = {entry.item_id: entry.rating for entry in known if entry.rating}
    statuses = {entry.item_id: entry.status for entry in known}
    today = dt.datetime.now(dt.UTC).date()

    def store(connection: Connection) -> int:
        user_id = register_user(connection, {}, today)
        store_list(connection, user_id, ratings, statuses)
        return user_id

    user_id = await service.database.write(store)
    response = RedirectResponse(query.change(mode="user", user=user_id).to_url(), 303)
    site.keep_user(request, response, user_id)
    site.leave_note(request, response, f"Your list is stored; your id is {user_id}. This browser remembers it.")
    return response


async def _read_form(request: Request, site: SiteDep) -> tuple[PageQuery, list[ListItem]]:
    form = await request.form()
    site.check_form(request, form.get("token"))
    query = read_query(_get_texts(form)).change(mode="list")
    return query, read_entries(str(form.get("entries", "")))
