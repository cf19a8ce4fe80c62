"""Signed cookies and form tokens: HMAC-SHA256 over what they say, their purpose and an expiry."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

_SEPARATOR: Final = "."
MAX_LENGTH: Final = 4096


class Signer:
    """Signs short texts for one purpose each, so that a token of one form is worth nothing elsewhere.

    Parameters
    ----------
    secret
        Shared by all instances; None takes a random one, with which tokens end with the process.
    clock
        Seconds since 1970.
    """

    def __init__(self, secret: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._key = secret.encode() if secret else secrets.token_bytes(32)
        self._clock = clock

    def sign(self, purpose: str, text: str, seconds: float) -> str:
        """Return a token that says `text` for some seconds."""
        body = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        payload = f"{body}{_SEPARATOR}{int(self._clock() + seconds)}"
        return f"{payload}{_SEPARATOR}{self._compute_mark(purpose, payload)}"

    def read(self, purpose: str, token: str | None) -> str | None:
        """Return what a token says; None for one that is forged, altered, expired or of another purpose."""
        if token is None or len(token) > MAX_LENGTH or token.count(_SEPARATOR) != 2 or not token.isascii():
            return None
        payload, _, mark = token.rpartition(_SEPARATOR)
        if not hmac.compare_digest(mark, self._compute_mark(purpose, payload)):
            return None
        body, _, expires = payload.partition(_SEPARATOR)
        if int(expires) < self._clock():
            return None
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()

    def _compute_mark(self, purpose: str, payload: str) -> str:
        return hmac.new(self._key, f"{purpose}:{payload}".encode(), hashlib.sha256).hexdigest()
