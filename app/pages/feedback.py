"""`/my/feedback`: what a visitor says about a title on a card."""

import secrets
from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, ImmutableMultiDict

from app.models.serving import ServingModel
from app.pages.preferences import read_preferences
from app.pages.queries import PageQuery, read_number, read_query
from app.pages.requests import keep_known
from app.pages.site import SiteDep, VisitorRoute
from app.schemas.problems import ProblemError
from app.service import ModelDep, Service, ServiceDep
from recsys.storage.feedback import FeedbackEvent, FeedbackKind, write_feedback

PATH: Final = "/my/feedback"
CLIENT: Final = "pages"  # whose idempotency keys they are
KINDS: Final[dict[object, FeedbackKind]] = {"seen": "seen", "dismissal": "dismissal", "plan": "plan"}
_MAX_ID: Final = 2**63 - 1
_SAID: Final[dict[str, str]] = {
    "rating": "{title} is rated {rating}; the list is new.",
    "seen": "{title} is marked as seen; the list is new.",
    "dismissal": "{title} will not come again; the list is new.",
    "plan": "{title} is planned; the list is new.",
}

router = APIRouter(include_in_schema=False, route_class=VisitorRoute)


@router.post(PATH)
async def post_page_feedback(request: Request, service: ServiceDep, model: ModelDep, site: SiteDep) -> Response:
    """Take the feedback and return to the list: a user's goes to the database, anybody else's into the address."""
    form = await request.form()
    site.check_form(request, form.get("token"))
    item_id, kind, rating = _read_feedback(model, form)
    query = read_query(ImmutableMultiDict(parse_qsl(str(form.get("query", "")), max_num_fields=1000)))
    if query.mode == "user" and query.user is not None:
        site.require_user(request, query.user)
        await _store(service, query.user, item_id, kind, rating, form)
    else:
        query = _remember(query, item_id, kind, rating)
    title = read_preferences(request).choose_title(model.item_views.show_item(item_id))
    response = RedirectResponse(query.to_url(), 303)
    site.leave_note(request, response, _SAID[kind].format(title=title, rating=rating))
    return response


def _read_feedback(model: ServingModel, form: FormData) -> tuple[int, FeedbackKind, int | None]:
    """Read title, kind and rating; a title that is seen and rated is rated.

    Raises
    ------
    ProblemError
        404 for a title that the catalog does not hold, 422 for a kind that does not exist.
    """
    item_id = read_number(form.get("item"), 0, _MAX_ID)
    if item_id is None or not keep_known(model, [item_id]):
        raise ProblemError(404, "unknown-item", "there is no such title")
    kind, rating = form.get("kind"), read_number(form.get("rating"), 1, 10)
    if kind not in KINDS:
        raise ProblemError(422, "unknown-kind", f"feedback is one of {', '.join(KINDS.values())}")
    if kind == "seen" and rating is not None:
        return item_id, "rating", rating
    return item_id, KINDS[kind], None


async def _store(
    service: Service, user_id: int, item_id: int, kind: FeedbackKind, rating: int | None, form: FormData
) -> None:
    """Write one event; raises 404 for a user who is not stored."""
    event = FeedbackEvent(
        idempotency_key=f"page-{secrets.token_hex(12)}",
        user_id=user_id,
        item_id=item_id,
        kind=kind,
        rating=rating,
        rank=read_number(form.get("rank"), 1, 10_000),
        model_version=read_number(form.get("version"), 1, 2**31 - 1),
    )
    await service.feedback_quota.take(f"user {user_id}")
    report = await service.database.write(lambda connection: write_feedback(connection, [event], CLIENT))
    await service.cache.invalidate(str(user_id))
    if report.unknown:
        raise ProblemError(404, "unknown-user", f"user {user_id} or title {item_id} is not in the database")


def _remember(query: PageQuery, item_id: int, kind: str, rating: int | None) -> PageQuery:
    """Put feedback into the query: a rating is a favourite, a plan is kept apart, the rest is not shown again."""
    if kind == "rating":
        return query.change(favourites={**query.favourites, item_id: rating})
    if kind == "plan":
        return query.change(planned=(*query.planned, item_id))
    return query.change(dismissed=(*query.dismissed, item_id))
