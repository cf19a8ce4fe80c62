"""HTTP connections with bounds: the size of URL and headers, the time that they take, and connections per address.

uvicorn reads a header block of any length for as long as a client sends it; its h11 implementation bounds the length
but not the time, and takes several times longer per request.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Collection
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_URL_BYTES: Final = 8 << 10
MAX_HEADER_BYTES: Final = 32 << 10
MAX_HEADERS: Final = 100
HEADER_SECONDS: Final = 10.0
CONNECTIONS_PER_ADDRESS: Final = 256

_DETAILS: Final = {
    408: "the request line and the headers took too long",
    413: "the message is larger than any body that is read here",
    414: f"the URL is longer than {MAX_URL_BYTES} bytes",
    429: "too many connections from one address",
    431: f"the headers are more than {MAX_HEADERS}, or larger than {MAX_HEADER_BYTES} bytes",
    503: "too many connections are open; try again",
}


class RefusedError(Exception):
    """Ends the parsing of a request; the parser turns it into an error of its own."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds; beyond them the connection is answered with a problem document and closed.

    A client has `header_seconds` from its connection, and from the first byte of a further request, to send request
    line and headers. Bodies are bounded by the application; what follows a message that is larger than any of them,
    such as endless trailers, ends the connection. See `bound_connections` for the parameters.
    """

    per_address = CONNECTIONS_PER_ADDRESS
    header_seconds = HEADER_SECONDS
    max_message_bytes = 1 << 20
    exempt: Collection[IPv4Network | IPv6Network] = ()
    open_by_address: Counter[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address = ""
        self._reads_headers = True
        self._n_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._refusal: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection and start the deadline of its first request."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open_by_address[self._address] += 1
        if self.open_by_address[self._address] > self.per_address and not self._is_exempt():
            self._refuse(429)
            return
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_deadline()
        self.open_by_address[self._address] -= 1
        if self.open_by_address[self._address] <= 0:
            del self.open_by_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the connection was refused or exceeds a bound."""
        if self._refusal is not None:
            return
        if self._deadline is None and self._reads_headers:
            self._start_deadline()
        self._n_bytes += len(data)
        super().data_received(data)
        if self._refusal is not None or self.transport.is_closing():
            return
        # A single header stays within the parser until it is whole.
        if self._reads_headers and self._n_bytes > MAX_URL_BYTES + MAX_HEADER_BYTES + len(data):
            self._refuse(431)
        elif not self._reads_headers and self._n_bytes > self.max_message_bytes + len(data):
            self._refuse(413)

    def on_message_begin(self) -> None:
        """Begin to count a message."""
        super().on_message_begin()
        self._reads_headers, self._n_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Bound the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise self._refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the number of headers, and of trailers."""
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            raise self._refused(431)

    def on_headers_complete(self) -> None:
        """Bound the size of all headers, then hand the request to the application."""
        self._stop_deadline()
        self._reads_headers, self._n_bytes = False, 0
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES:
            raise self._refused(431)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            raise self._refused(503)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next message."""
        super().on_message_complete()
        self._reads_headers, self._n_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        """Send what the parsing was ended with."""
        self._refuse(self._refusal or 400, msg)

    def _refused(self, status: int) -> RefusedError:
        self._refusal = status
        return RefusedError(_DETAILS[status])

    def _refuse(self, status: int, detail: str | None = None) -> None:
        self._refusal = status
        self._stop_deadline()
        if self.transport.is_closing():
            return
        is_free = self.cycle is None or self.cycle.response_complete
        # Where a response is under way, another one would be taken for a part of it.
        if is_free:
            self.transport.write(_build_response(status, _DETAILS.get(status, detail or "")))
        self.transport.close()

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._refuse, 408)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_exempt(self) -> bool:
        try:
            address = ip_address(self._address)
        except ValueError:  # a Unix socket
            return True
        return any(address in network for network in self.exempt)


def bound_connections(
    *, per_address: int, max_message_bytes: int, exempt: Collection[IPv4Network | IPv6Network] = ()
) -> type[BoundedHttpProtocol]:
    """Make the protocol of one server.

    Parameters
    ----------
    per_address
        Connections that one address may have open.
    max_message_bytes
        What the body of the largest request takes, with its framing.
    exempt
        Networks whose addresses may open any number: proxies, which speak for many clients.
    """
    bounds = {"per_address": per_address, "max_message_bytes": max_message_bytes, "exempt": tuple(exempt)}
    return type("ConfiguredHttpProtocol", (BoundedHttpProtocol,), {**bounds, "open_by_address": Counter()})


def _build_response(status: int, detail: str) -> bytes:
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    headers = (
        b"content-type: application/problem+json\r\n"
        b"x-content-type-options: nosniff\r\n"
        b"x-frame-options: DENY\r\n"
        b"referrer-policy: no-referrer\r\n"
        b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
        b"cache-control: no-store\r\n"
        b"connection: close\r\n"
        b"content-length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    return STATUS_LINE[status] + headers + body
