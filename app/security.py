"""API keys: `X-API-Key`, or `Authorization: Bearer` for clients such as Prometheus that know only that."""

import hashlib
import hmac
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.problems import ProblemError
from recsys.settings import Settings

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="Needed once keys are configured.")
_bearer = HTTPBearer(auto_error=False, description="The same key, for clients that can only send this header.")


class ApiKeys:
    """The keys that open the service, as digests only; without any the service is open."""

    def __init__(self, settings: Settings) -> None:
        self._digests = [_digest(key.get_secret_value().encode()) for key in settings.api_keys]

    @property
    def are_configured(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._digests)

    def accept(self, key: str | None) -> bool:
        """Tell whether a key opens the service; takes equally long for every wrong key."""
        if not self._digests:
            return True
        given = _digest((key or "").encode("latin-1", "replace"))  # how headers are decoded
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return key is not None and any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


async def require_api_key(
    request: Request,
    key: Annotated[str | None, Security(_header)] = None,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
) -> None:
    """End the request with 401 unless it carries one of the configured keys."""
    given = key if key is not None else bearer.credentials if bearer is not None else None
    if not request.app.state.service.api_keys.accept(given):
        detail = "this needs a key in the header X-API-Key"
        raise ProblemError(401, "key-required", detail, headers={"WWW-Authenticate": "Bearer"})
