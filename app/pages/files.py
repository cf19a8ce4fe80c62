"""Static files, covers, completions, and what a visitor likes to look at."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from app.pages.covers import draw_cover
from app.pages.preferences import COOKIE, SECONDS, pick, read_preferences
from app.pages.queries import read_text
from app.pages.rendering import ASSETS, ASSETS_DIGEST
from app.pages.site import SiteDep, VisitorRoute, set_cookie
from app.schemas.problems import ProblemError
from app.service import ModelDep, ServiceDep
from recsys.data.folding import MAX_QUERY_LENGTH

FOR_EVER: Final = "public, max-age=31536000, immutable"
FOR_A_DAY: Final = "public, max-age=86400"
N_COMPLETIONS: Final = 8
# An image that is opened on its own may do nothing either.
_IMAGE_POLICY: Final = "default-src 'none'; style-src 'none'; frame-ancestors 'none'"

public_router = APIRouter(include_in_schema=False)
router = APIRouter(include_in_schema=False, route_class=VisitorRoute)


@public_router.get("/assets/{digest}/{name}")
async def get_asset(digest: str, name: str) -> Response:
    """Return a static file; under the digest of another release it is not to be kept."""
    if name not in ASSETS:
        raise ProblemError(404, "unknown-file", "there is no such file")
    keep = FOR_EVER if digest == ASSETS_DIGEST else "no-cache"
    return Response(ASSETS[name].content, media_type=ASSETS[name].media_type, headers={"Cache-Control": keep})


@public_router.get("/favicon.ico")
async def get_favicon() -> Response:
    """Return the icon of the pages."""
    icon = ASSETS["icon.svg"]
    return Response(icon.content, media_type=icon.media_type, headers={"Cache-Control": FOR_A_DAY})


@public_router.get("/covers/{item_id}.svg")
async def get_cover(model: ModelDep, item_id: int) -> Response:
    """Return the generated cover of a title."""
    item = model.item_views.show_item(item_id)
    headers = {"Cache-Control": FOR_A_DAY, "Content-Security-Policy": _IMAGE_POLICY}
    return Response(draw_cover(item.title, item.genres), media_type="image/svg+xml", headers=headers)


@router.get("/complete")
async def get_completions(
    request: Request,
    service: ServiceDep,
    model: ModelDep,
    q: Annotated[str, Query(max_length=MAX_QUERY_LENGTH)],
    adult: bool = False,
) -> Response:
    """Complete a title for the type-ahead of the forms."""
    text, preferences, shown = read_text(q), read_preferences(request), adult or service.shows_adult
    found = await service.workers.run(lambda: model.titles.search(text, N_COMPLETIONS, adult=shown)) if text else []
    hits = []
    for hit in found:
        item = model.item_views.show_item(hit.item_id)
        facts = " · ".join(str(fact) for fact in (item.type, item.year) if fact is not None)
        title = preferences.choose_title(item)
        hits.append({"id": hit.item_id, "title": title, "matched": hit.matched, "facts": facts})
    return JSONResponse({"hits": hits})


@router.post("/look")
async def post_look(request: Request, site: SiteDep) -> Response:
    """Remember title language and theme, and return to the page."""
    form = await request.form()
    site.check_form(request, form.get("token"))
    chosen = pick(dict(form), read_preferences(request))
    response = RedirectResponse(_keep_inside(str(form.get("here", "/"))), 303)
    set_cookie(request, response, COOKIE, chosen.to_cookie(), SECONDS)
    return response


def _keep_inside(address: str) -> str:
    """Return an address of this site, `/` for any other."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if inside else "/"
