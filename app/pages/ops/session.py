"""Who may see `/ops`: a key with the scope admin, exchanged once for a signed cookie."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cachetools import TTLCache
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from app.guard.keys import ADMIN, Client, get_address
from app.pages.rendering import render
from app.pages.site import get_site
from app.schemas.problems import ProblemError
from recsys.settings import is_loopback

COOKIE: Final = "otaku_ops"
PATH: Final = "/ops"
SECONDS: Final = 8 * 3600
MAX_FAILURES: Final = 5
LOCKOUT_SECONDS: Final = 900
LOCAL: Final = "local"


class LoginNeededError(Exception):
    """The request needs a login first; carries why."""


@dataclass
class Sessions:
    """Sessions that were ended, and failed logins by address; of this process alone."""

    clock: Callable[[], float] = time.monotonic
    _ended: TTLCache[str, bool] = field(init=False)
    _failures: TTLCache[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._ended = TTLCache(10_000, SECONDS, timer=self.clock)
        self._failures = TTLCache(10_000, LOCKOUT_SECONDS, timer=self.clock)

    def check_lockout(self, address: str) -> None:
        """Refuse an address that gave too many wrong keys.

        Raises
        ------
        ProblemError
            429.
        """
        if self._failures.get(address, 0) >= MAX_FAILURES:
            headers = {"Retry-After": str(LOCKOUT_SECONDS)}
            detail = f"{MAX_FAILURES} wrong keys came from this address; try again in {LOCKOUT_SECONDS // 60} minutes"
            raise ProblemError(429, "locked-out", detail, headers=headers)

    def note_failure(self, address: str) -> None:
        """Count a wrong key."""
        self._failures[address] = self._failures.get(address, 0) + 1

    def clear_failures(self, address: str) -> None:
        """Forget the wrong keys of an address that gave a right one."""
        self._failures.pop(address, None)

    def end(self, session: str) -> None:
        """Let a session be over, whoever still holds its cookie."""
        self._ended[session] = True

    def is_ended(self, session: str) -> bool:
        """Whether a session was ended by its user."""
        return session in self._ended


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine and means it: another name would be a rebound one."""
    return is_loopback(get_address(request)) and is_loopback(request.url.hostname or "")


async def require_operator(request: Request) -> str:
    """Return the name of the operator, for the ledger.

    Without configured keys the service is open, and `/ops` to this machine alone.

    Raises
    ------
    LoginNeededError
        Without a valid session.
    """
    site, keys = get_site(request), request.app.state.service.api_keys
    if not keys.are_configured:
        if is_local(request):
            return LOCAL
        raise LoginNeededError("Without OTAKU_API_KEYS these pages open on the machine of the service alone.")
    session, _, name = (site.signer.read("ops", request.cookies.get(COOKIE)) or "").partition(" ")
    sessions: Sessions = request.app.state.sessions
    client: Client | None = keys.find_by_name(name) if session and not sessions.is_ended(session) else None
    if client is None or not client.may([ADMIN]):
        raise LoginNeededError("")
    return client.name


async def show_login(request: Request, error: Exception) -> Response:
    """Show the form for the key in place of a page that needs it."""
    keys = request.app.state.service.api_keys
    values: dict[str, Any] = {"reason": str(error), "takes_keys": keys.are_configured}
    return render(request, "ops/login.html", values, 403 if str(error) else 401)


async def log_in(request: Request) -> Response:
    """Exchange a key for a cookie; the key itself is kept nowhere."""
    site, sessions = get_site(request), request.app.state.sessions
    address = get_address(request)
    form = await request.form()
    site.check_form(request, form.get("token"))
    sessions.check_lockout(address)
    client: Client | None = request.app.state.service.api_keys.find(str(form.get("key", "")))
    if client is None or not client.may([ADMIN]):
        sessions.note_failure(address)
        return await show_login(request, LoginNeededError("This is no key with the scope admin."))
    sessions.clear_failures(address)
    response = RedirectResponse(PATH, 303)
    token = site.signer.sign("ops", f"{secrets.token_hex(8)} {client.name}", SECONDS)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, SECONDS, path=PATH, httponly=True, samesite="strict", secure=secure)
    return response


async def log_out(request: Request) -> Response:
    """End the session, for every copy of its cookie."""
    site = get_site(request)
    site.check_form(request, (await request.form()).get("token"))
    session = (site.signer.read("ops", request.cookies.get(COOKIE)) or "").partition(" ")[0]
    request.app.state.sessions.end(session)
    response = RedirectResponse(PATH, 303)
    response.delete_cookie(COOKIE, path=PATH)
    return response
