"""What stands before MLflow's server: a password, places for artefacts, and the interfaces that are off.

MLflow's own `basic-auth` application hashes the password with scrypt for each request, of which a retraining makes
hundreds, and neither knows places for artefacts nor turns interfaces off.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 16 << 20  # MLflow's clients send up to one megabyte
_OPEN: Final = frozenset({"/health", "/version"})
# Jobs run code, the gateway calls and keeps secrets of other services, workspaces bring places of their own.
_OFF: Final = re.compile(
    r"/(gateway|gateway-proxy|jobs|prompt-optimization|workspaces|mcp-servers|assistant|mlflow-artifacts)(/|$)"
)
_PLACES: Final = frozenset({"artifactlocation", "artifacturi", "artifactrooturi", "defaultartifactroot"})
_VERSION: Final = re.compile(r"/model-versions/create/?$")


class MlflowGuard:
    """ASGI middleware.

    Parameters
    ----------
    user, password
        Of every client.
    artifact_root
        The only place below which experiments and versions may keep their files.
    """

    def __init__(self, app: ASGIApp, *, user: str, password: str, artifact_root: str) -> None:
        self._app = app
        self._expected = f"{user}:{password}".encode()
        self._root = artifact_root.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401, 403, 404 or 413."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._check_request(scope)
        if refusal is None and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            body = await _read_body(receive)
            if body is None:
                refusal = _refuse(413, f"a request is larger than {MAX_BODY_BYTES} bytes")
            else:
                refusal = self._check_places(scope["path"], body)
                receive = _replay(body, receive)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _check_request(self, scope: Scope) -> Response | None:
        if scope["path"] in _OPEN:
            return None
        if not self._is_known(value for name, value in scope["headers"] if name == b"authorization"):
            refusal = _refuse(401, "user or password is wrong: `otaku status --env` prints MLFLOW_TRACKING_PASSWORD")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="MLflow of My Otaku Friend", charset="UTF-8"'
            return refusal
        if _OFF.search(scope["path"]):
            return _refuse(404, "this interface of MLflow is off here")
        return None

    def _is_known(self, headers: Iterable[bytes]) -> bool:
        given = list(headers)
        if len(given) != 1:
            return False
        scheme, _, value = given[0].partition(b" ")
        try:
            told = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == b"basic" and hmac.compare_digest(told, self._expected)

    def _check_places(self, path: str, body: bytes) -> Response | None:
        """Refuse a place elsewhere: MLflow would read and write there itself, in folders of this machine too."""
        try:
            content = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError):
            return None  # no JSON to MLflow either
        names = _PLACES | {"source"} if _VERSION.search(path) else _PLACES
        wrong = [place for place in _find(content, names) if place and not self._is_allowed(place)]
        return (
            _refuse(403, f"artefacts are kept below {self._root} alone, not at {wrong[0]!r}"[:300]) if wrong else None
        )

    def _is_allowed(self, place: object) -> bool:
        if not isinstance(place, str):
            return False
        parts = place.split("/")
        return (place == self._root or place.startswith(f"{self._root}/")) and not {"..", "."} & set(parts)


def _find(content: Any, names: frozenset[str]) -> Iterator[object]:
    """Yield the values of some names, in whichever of protobuf's two spellings.

    In MLflow's requests such names stand on the uppermost level.
    """
    if isinstance(content, dict):
        for name, value in content.items():
            if str(name).replace("_", "").lower() in names:
                yield value


async def _read_body(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    n_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        n_bytes += len(parts[-1])
        if n_bytes > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read to whoever asks next."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _refuse(status: int, reason: str) -> Response:
    """Answer as MLflow does, so that its clients show the reason."""
    code = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "ENDPOINT_NOT_FOUND"}.get(status, "BAD_REQUEST")
    return JSONResponse({"error_code": code, "message": reason}, status)
