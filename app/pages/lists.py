"""`/list`: a watch list as a file: shown first, then used, and stored only if that is asked for."""

import datetime as dt
from collections import Counter
from typing import Annotated, Final

from fastapi import APIRouter, File, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from app.pages.for_you import show_list
from app.pages.preferences import read_preferences
from app.pages.queries import PageQuery, read_query
from app.pages.rendering import render
from app.pages.requests import is_adult
from app.pages.site import SiteDep, VisitorRoute
from app.pages.uploads import get_texts, pack_entries, read_entries, read_file
from app.schemas.watch_lists import ListItem
from app.service import ModelDep, ServiceDep
from recsys.storage.users import register_user
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus

PATH: Final = "/list"
SHOWN: Final = 50
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
    query = read_query(get_texts(form)).change(mode="list")
    read, matched = await service.workers.run(lambda: read_file(model, content))
    preferences = read_preferences(request)
    shown = sorted(matched.entries, key=lambda entry: (-(entry.rating or 0), _ORDER.get(entry.status, 2), entry.title))
    values = {
        "query": query,
        "read": read,
        "matched": matched,
        "entries": pack_entries(matched.entries),
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
        """Register a user and store the list."""
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
    query = read_query(get_texts(form)).change(mode="list")
    return query, read_entries(str(form.get("entries", "")))
