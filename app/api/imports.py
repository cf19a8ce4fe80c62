"""`POST /import`: a watch list as a file, shown or stored."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile

from app.api.openapi import document_problems
from app.guard.keys import GuardedRoute, check_scope
from app.models.serving import ServingModel
from app.schemas.problems import ProblemError
from app.schemas.watch_lists import ImportedItem, ImportResponse, StoredImport, UnmatchedItem
from app.service import ModelDep, Service, ServiceDep
from recsys.data.lists.entries import WatchList
from recsys.data.lists.formats import parse_watch_list
from recsys.data.lists.matching import MatchedEntry, MatchedList, UnmatchedEntry, match_watch_list
from recsys.data.lists.scores import ScoreFormat
from recsys.storage.watch_statuses import StoredList, store_list
from recsys.types import UserId

PATH = "/import"

router = APIRouter(tags=["users"], route_class=GuardedRoute)
_PROBLEMS = document_problems(400, 401, 403, 404, 408, 413, 422, 429, 503)

Upload = Annotated[
    UploadFile,
    File(description="An export of MyAnimeList (XML), AniList (JSON) or Yamtrack (CSV), packed by gzip or not."),
]
Store = Annotated[bool, Form(description="Whether to store the list for `user_id`; needs the scope `write`.")]
Owner = Annotated[int | None, Form(ge=0, lt=2**63, description="Whose list it is; needed to store it.")]
Scale = Annotated[ScoreFormat | None, Form(description="The scale of the scores, where the file does not name it.")]


async def _require_owner(request: Request, store: Store = False, user_id: Owner = None) -> UserId | None:
    """Return the user to store the list for, None for a preview."""
    if not store:
        return None
    check_scope(request, "write")
    if user_id is None:
        raise ProblemError(422, "contradiction", "store needs a user_id; POST /users registers a user")
    return user_id


@router.post(PATH, operation_id="import_list", responses=_PROBLEMS)
async def post_import(
    service: ServiceDep,
    model: ModelDep,
    file: Upload,
    owner: Annotated[UserId | None, Depends(_require_owner)],
    score_format: Scale = None,
) -> ImportResponse:
    """Read a watch list and show what it holds; nothing is stored unless `store` is true."""
    content = await file.read()
    read, matched = await service.workers.run(lambda: _read(model, content, score_format))
    stored = None if owner is None else await _store(service, owner, matched)
    return await service.workers.run(lambda: build_import_response(read, matched, stored))


def _read(model: ServingModel, content: bytes, score_format: ScoreFormat | None) -> tuple[WatchList, MatchedList]:
    read = parse_watch_list(content, score_format=score_format)
    return read, match_watch_list(read, model.recommender.catalog, model.titles)


async def _store(service: Service, user_id: UserId, matched: MatchedList) -> StoredImport:
    """Write the list in one transaction."""
    stored = await service.database.write(
        lambda connection: store_list(connection, user_id, matched.ratings, matched.statuses)
    )
    await service.cache.invalidate(str(user_id))
    return show_stored(user_id, stored)


def show_stored(user_id: UserId, stored: StoredList) -> StoredImport:
    """Tell what was written for a user."""
    return StoredImport(
        user_id=user_id,
        n_ratings=stored.n_ratings,
        n_statuses=stored.n_statuses,
        ignored_item_ids=list(stored.unknown_item_ids),
    )


def build_import_response(read: WatchList, matched: MatchedList, stored: StoredImport | None) -> ImportResponse:
    """Arrange what a list holds, what was matched, and what was stored, if anything was."""
    return ImportResponse(
        format=read.format,
        score_format=read.score_format,
        n_entries=len(read.entries),
        statuses=dict(Counter(matched.statuses.values())),
        notes=dict(read.notes),
        entries=[_show_matched(entry) for entry in matched.entries],
        unmatched=[_show_unmatched(entry) for entry in matched.unmatched],
        duplicates=[_show_matched(entry) for entry in matched.duplicates],
        stored=stored,
    )


def _show_matched(entry: MatchedEntry) -> ImportedItem:
    return ImportedItem(
        item_id=entry.item_id, title=entry.title, rating=entry.rating, status=entry.status, matched_by=entry.by
    )


def _show_unmatched(found: UnmatchedEntry) -> UnmatchedItem:
    entry = found.entry
    return UnmatchedItem(
        item_id=entry.item_id,
        title=entry.title,
        source_id=entry.source_id,
        rating=entry.rating,
        status=entry.status,
        suggestions=list(found.suggestions),
    )
