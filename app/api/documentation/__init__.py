"""`/docs` and `/redoc` from files of our own, under a policy that lets nothing else in."""

from importlib import resources
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from app.schemas.problems import ProblemError

DOCS: Final = "/docs"
REDOC: Final = "/redoc"
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_NAMES: Final = ("swagger-ui-bundle.js.gz", "swagger-ui.css.gz", "swagger-init.js", "redoc.standalone.js.gz")
_FILES: Final = {name.removesuffix(".gz"): (resources.files(__name__) / name).read_bytes() for name in _NAMES}
_COMPRESSED: Final = frozenset(name.removesuffix(".gz") for name in _NAMES if name.endswith(".gz"))
_FOR_A_DAY: Final = "public, max-age=86400"
# Both set styles by script, and Redoc searches in a worker that it makes itself.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; worker-src blob:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>My Otaku Friend: {title}</title>
{head}
</head>
<body>
{body}
</body>
</html>
"""
_SWAGGER: Final = _PAGE.format(
    title="API",
    head='<link rel="stylesheet" href="/docs/swagger-ui.css">',
    body='<div id="swagger-ui"></div>\n<script src="/docs/swagger-ui-bundle.js"></script>\n'
    '<script src="/docs/swagger-init.js"></script>',
)
_REDOC: Final = _PAGE.format(
    title="API reference",
    head="",
    body='<redoc spec-url="/openapi.json"></redoc>\n<script src="/docs/redoc.standalone.js"></script>',
)

router = APIRouter(include_in_schema=False)


@router.get(DOCS)
async def get_docs() -> HTMLResponse:
    """Show the API in Swagger UI, where requests can be tried."""
    return HTMLResponse(_SWAGGER, headers=_HEADERS)


@router.get(REDOC)
async def get_redoc() -> HTMLResponse:
    """Show the API in Redoc."""
    return HTMLResponse(_REDOC, headers=_HEADERS)


@router.get("/docs/{name}")
async def get_file(name: str) -> Response:
    """Return a script or style of these pages; compressed, which every browser reads."""
    if name not in _FILES:
        raise ProblemError(404, "unknown-file", "there is no such file")
    headers = {"Cache-Control": _FOR_A_DAY} | ({"Content-Encoding": "gzip"} if name in _COMPRESSED else {})
    return Response(_FILES[name], media_type=_TYPES[name[name.rindex(".") :]], headers=headers)
