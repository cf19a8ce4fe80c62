"""Templates, static files under their digests, and the headers of every page."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import recsys
from app.pages.preferences import LANGUAGES, THEMES, read_preferences
from app.pages.site import NOTE_COOKIE, get_site
from app.schemas.recommendations import WatchedItem

_FOLDER: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

# Nothing from elsewhere, nothing inline, and no text that a script turns into markup.
PAGE_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


@dataclass(frozen=True)
class Asset:
    """A static file."""

    content: bytes
    media_type: str


def _read_assets() -> dict[str, Asset]:
    paths = sorted((_FOLDER / "static").iterdir())
    return {path.name: Asset(path.read_bytes(), _TYPES[path.suffix]) for path in paths if path.suffix in _TYPES}


ASSETS: Final = _read_assets()
# One digest over all of them, so that modules import one another by relative addresses: browsers may keep what they
# have fetched for ever, and fetch everything anew after a change.
ASSETS_DIGEST: Final = hashlib.sha256(b"\0".join(asset.content for asset in ASSETS.values())).hexdigest()[:16]


def _format_count(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}"


def _add_favourite(favourites: Mapping[int, int | None], item_id: int) -> dict[int, int | None]:
    return {**favourites, item_id: favourites.get(item_id)}


def _compute_mean_error(watched: Sequence[WatchedItem]) -> float:
    return sum(abs(seen.rating - seen.predicted_rating) for seen in watched) / max(len(watched), 1)


def _find_asset(name: str) -> str:
    if name not in ASSETS:
        raise KeyError(name)
    return f"/assets/{ASSETS_DIGEST}/{name}"


def _build_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "asset": _find_asset,
        "languages": LANGUAGES,
        "themes": THEMES,
        "release": recsys.__version__,
    }
    environment.filters |= {
        "count": _format_count,
        "add_favourite": _add_favourite,
        "mean_error": _compute_mean_error,
    }
    return environment


_ENVIRONMENT: Final = _build_environment()


def render(request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """Render a page; everything that a template prints is escaped.

    Templates get `form_token` for their forms, `note` with what the last form did, and `here`, where to return to.
    """
    site = get_site(request)
    visitor = site.find_visitor(request)
    query = request.url.query
    here = f"{request.url.path}?{query}" if query else request.url.path
    note = site.read_note(request)
    text = _ENVIRONMENT.get_template(template).render(
        preferences=read_preferences(request),
        path=request.url.path,
        here=here if request.method == "GET" else "/",
        form_token=site.make_form_token(visitor),
        note=note,
        **values,
    )
    response = HTMLResponse(text, status, headers=PAGE_HEADERS)
    site.keep_visitor(request, response, visitor)
    if note:
        response.delete_cookie(NOTE_COOKIE)
    return response
