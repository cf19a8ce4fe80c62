"""What all pages share: signatures, visitors, form tokens, rate limits, and who may be shown as whom."""

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from limits import RateLimitItem

from app.guard.keys import get_address
from app.guard.limits import parse_rate_limit
from app.pages.signing import Signer
from app.schemas.problems import ProblemError
from app.service import Service
from recsys.settings import Settings

VISITOR_COOKIE: Final = "otaku_visitor"
NOTE_COOKIE: Final = "otaku_note"
USERS_COOKIE: Final = "otaku_users"
FORM_SECONDS: Final = 12 * 3600
NOTE_SECONDS: Final = 60
USERS_SECONDS: Final = 365 * 86_400
MAX_USERS: Final = 5
# Holds where OTAKU_RATE_LIMIT sets none: typing a title alone sends a few requests a second.
RATE_LIMIT: Final = "600/minute"
_VISITOR_LENGTH: Final = 22


@dataclass(frozen=True)
class Site:
    """State of the pages of one application.

    Parameters
    ----------
    needs_key
        Whether keys are configured; then a visitor is only ever shown as a user that this browser registered.
    """

    signer: Signer
    rate_limit: RateLimitItem
    needs_key: bool

    def find_visitor(self, request: Request) -> str:
        """Return the random name of a browser, a new one at its first visit."""
        given = request.cookies.get(VISITOR_COOKIE, "")
        return given if len(given) == _VISITOR_LENGTH and given.isascii() else secrets.token_urlsafe(16)

    def keep_visitor(self, request: Request, response: Response, visitor: str) -> None:
        """Let a browser keep its name, without which no form of it is taken."""
        if request.cookies.get(VISITOR_COOKIE) != visitor:
            set_cookie(request, response, VISITOR_COOKIE, visitor, USERS_SECONDS)

    def make_form_token(self, visitor: str) -> str:
        """Make the token that the forms of a browser carry."""
        return self.signer.sign(f"form {visitor}", "", FORM_SECONDS)

    def check_form(self, request: Request, token: object) -> None:
        """Refuse a form that another site sent, or that is too old.

        Raises
        ------
        ProblemError
            403.
        """
        visitor = request.cookies.get(VISITOR_COOKIE)
        given = token if isinstance(token, str) else None
        crosses = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if crosses or visitor is None or self.signer.read(f"form {visitor}", given) is None:
            detail = "this form is too old or comes from another site; go back, reload the page and send it again"
            raise ProblemError(403, "form-refused", detail)

    def leave_note(self, request: Request, response: Response, text: str) -> None:
        """Let the next page say what a form did."""
        set_cookie(request, response, NOTE_COOKIE, self.signer.sign("note", text, NOTE_SECONDS), NOTE_SECONDS)

    def read_note(self, request: Request) -> str:
        """Return what the last form did, or nothing."""
        return self.signer.read("note", request.cookies.get(NOTE_COOKIE)) or ""

    def list_users(self, request: Request) -> list[int]:
        """List the users that this browser registered, the newest first."""
        text = self.signer.read("users", request.cookies.get(USERS_COOKIE)) or ""
        return [int(user_id) for user_id in text.split()]

    def keep_user(self, request: Request, response: Response, user_id: int) -> None:
        """Let a browser keep the id of a user that it registered."""
        kept = list(dict.fromkeys([user_id, *self.list_users(request)]))[:MAX_USERS]
        token = self.signer.sign("users", " ".join(map(str, kept)), USERS_SECONDS)
        set_cookie(request, response, USERS_COOKIE, token, USERS_SECONDS)

    def may_be(self, request: Request, user_id: int) -> bool:
        """Whether a visitor may see and change the list of a user."""
        return not self.needs_key or user_id in self.list_users(request)

    def require_user(self, request: Request, user_id: int) -> None:
        """Refuse a visitor who may not be shown as a user.

        Raises
        ------
        ProblemError
            403.
        """
        if not self.may_be(request, user_id):
            detail = f"user {user_id} was not registered in this browser; pick favourites or drop a list instead"
            raise ProblemError(403, "other-user", detail)


def build_site(service: Service, settings: Settings) -> Site:
    """Build the state of the pages; without a secret of the settings signatures end with the process."""
    secret = settings.pages_secret.get_secret_value() if settings.pages_secret else None
    limit = service.rate_limit or parse_rate_limit(RATE_LIMIT)
    return Site(Signer(secret), limit, service.api_keys.are_configured)


def get_site(request: Request) -> Site:
    """Return the state of the pages."""
    site: Site = request.app.state.pages
    return site


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie that no script reads and no other site sends."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


async def limit_visitor(request: Request) -> None:
    """Count a request of a visitor, by address.

    Raises
    ------
    ProblemError
        429.
    """
    site, service = get_site(request), request.app.state.service
    status = await service.limiter.count(site.rate_limit, f"page {get_address(request)}")
    request.state.headers = status.headers
    if not status.allowed:
        raise ProblemError(429, "too-many-requests", f"no more than {site.rate_limit} for one visitor")


class VisitorRoute(APIRoute):
    """A route that counts its visitor before the body is parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route behind the limit."""
        handle = super().get_route_handler()

        async def handle_within_limit(request: Request) -> Response:
            """Count the visitor's request, then handle it."""
            await limit_visitor(request)
            return await handle(request)

        return handle_within_limit


SiteDep = Annotated[Site, Depends(get_site)]
