"""API keys: `X-API-Key`, or `Authorization: Bearer` for clients such as Prometheus that only send that."""

import hmac
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from limits import RateLimitItem

from app.guard.limits import parse_rate_limit
from app.schemas.problems import ProblemError
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings
from recsys.storage.api_keys import SCOPES, StoredKey, compute_key_digest

logger = logging.getLogger(__name__)
IN_DATABASE = "database"
ADMIN = "admin"
_HASHED = re.compile(r"sha256=([0-9a-f]{64})")

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="Needed once keys are configured.")
_bearer = HTTPBearer(auto_error=False, description="The same key, for clients that can only send this header.")


@dataclass(frozen=True)
class Client:
    """The client of a key: name for rate limiting, scopes, and its own rate limit if it has one."""

    name: str
    scopes: frozenset[str]
    rate_limit: RateLimitItem | None = None

    def may(self, scopes: Iterable[str]) -> bool:
        """Return whether the client has all of these scopes; `admin` implies every scope."""
        return ADMIN in self.scopes or set(scopes) <= self.scopes


class ApiKeys:
    """Valid keys, as digests only; without any configured key the service is open.

    Entries of the setting have the form `KEY[:SCOPE+SCOPE[:LIMIT]]`, with `sha256=HEX` in place of a plain key; the
    entry `database` stands for table `api_keys`.

    Raises
    ------
    ConfigurationError
        If an entry has a scope or limit that does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        entries = [key.get_secret_value() for key in settings.api_keys]
        self.uses_database = IN_DATABASE in entries
        self._configured = dict(_parse_entry(entry) for entry in entries if entry != IN_DATABASE)
        self._stored: Mapping[str, Client] = {}

    @property
    def are_configured(self) -> bool:
        """Whether requests need a key."""
        return bool(self._configured) or self.uses_database

    def replace_stored(self, keys: Iterable[StoredKey]) -> None:
        """Replace the keys of the table."""
        self._stored = {key.digest: _to_client(key) for key in keys}

    def find(self, key: str | None) -> Client | None:
        """Return the client of a key, or None, in constant time over wrong keys."""
        given = compute_key_digest((key or "").encode("latin-1", "replace"))  # how headers are decoded
        found = None
        for digest, client in (*self._configured.items(), *self._stored.items()):
            if hmac.compare_digest(given, digest):
                found = client
        return found if key is not None else None

    def find_by_name(self, name: str) -> Client | None:
        """Return the client of that name, or None once its key is gone."""
        clients = (*self._configured.values(), *self._stored.values())
        return next((client for client in clients if client.name == name), None)


def _parse_entry(entry: str) -> tuple[str, Client]:
    key, *rest = entry.split(":")
    scopes = rest[0].split("+") if rest else list(SCOPES)
    unknown = set(scopes) - set(SCOPES)
    if unknown or len(rest) > 2 or not key:
        raise ConfigurationError(
            "OTAKU_API_KEYS: an entry is KEY, KEY:SCOPES or KEY:SCOPES:LIMIT such as …:recommend+write:600/minute; "
            f"the scopes are {', '.join(SCOPES)}, and a key holds no colon"
        )
    hashed = _HASHED.fullmatch(key)
    digest = hashed[1] if hashed else compute_key_digest(key.encode())
    limit = parse_rate_limit(rest[1]) if len(rest) == 2 else None
    return digest, Client(digest[:12], frozenset(scopes), limit)


def _to_client(key: StoredKey) -> Client:
    try:
        limit = parse_rate_limit(key.rate_limit) if key.rate_limit else None
    except ConfigurationError:
        logger.warning("the rate limit of key %r cannot be read; the general one holds", key.name)
        limit = None
    return Client(key.digest[:12], frozenset(key.scopes), limit)


class GuardedRoute(APIRoute):
    """A route that finds the client of a request and counts it against its limit before the body is parsed.

    FastAPI parses a body before it calls dependencies, so that a malformed one would cost a stranger nothing.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route behind the check of the client."""
        handle = super().get_route_handler()

        async def handle_known_client(request: Request) -> Response:
            """Identify the client, then handle the request."""
            await identify_client(request)
            return await handle(request)

        return handle_known_client


async def identify_client(request: Request) -> None:
    """Find the client by its key into `request.state.client`, None without configured keys.

    Raises
    ------
    ProblemError
        401 without a valid key, 429 beyond the rate limit.
    """
    service = request.app.state.service
    client: Client | None = None
    if service.api_keys.are_configured:
        client = service.api_keys.find(_read_key(request))
    await _count(request, client, 1)
    if client is None and service.api_keys.are_configured:
        detail = "this needs a key in the header X-API-Key"
        raise ProblemError(401, "key-required", detail, headers={"WWW-Authenticate": "Bearer"})
    request.state.client = client


async def count_more(request: Request, cost: int) -> None:
    """Count what a request asks for beside the first list against the limit of its client.

    Raises
    ------
    ProblemError
        429 beyond the rate limit.
    """
    if cost:
        await _count(request, request.state.client, cost)


async def _count(request: Request, client: Client | None, cost: int) -> None:
    service = request.app.state.service
    limit = client.rate_limit if client is not None and client.rate_limit is not None else service.rate_limit
    if limit is None:
        return
    name = client.name if client is not None else f"address {get_address(request)}"
    status = await service.limiter.count(limit, name, cost)
    request.state.headers = status.headers
    if not status.allowed:
        service.metrics.count_limited("requests")
        raise ProblemError(429, "too-many-requests", f"no more than {limit} for one client")


def _read_key(request: Request) -> str | None:
    key = request.headers.get("x-api-key")
    if key is not None:
        return key
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" and credentials else None


async def require_scopes(
    request: Request,
    needed: SecurityScopes,
    _key: Annotated[str | None, Security(_header)] = None,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
) -> None:
    """Raise 403 unless the client of a `GuardedRoute` has the scopes; the parameters are for the documentation."""
    check_scope(request, *needed.scopes)


def get_address(request: Request) -> str:
    """Return the address of a client, as trusted proxies tell it."""
    return request.client.host if request.client else ""


def get_client_name(request: Request) -> str:
    """Return the name of the client that `require_api_key` has found; empty for all those without a key."""
    client: Client | None = request.state.client
    return client.name if client is not None else ""


def may(request: Request, *scopes: str) -> bool:
    """Whether the client that `GuardedRoute` has found has all of these scopes; without configured keys all may."""
    client: Client | None = request.state.client
    return client is None or client.may(scopes)


def check_scope(request: Request, *scopes: str) -> None:
    """End a request whose client `GuardedRoute` has found with 403 unless it has all of these scopes."""
    if not may(request, *scopes):
        raise ProblemError(403, "scope-required", f"this needs a key with the scope {' and '.join(scopes)}")
