"""Clients that send too much, too slowly or too often, against uvicorn with the bounded protocol."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app.guard.connections import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_URL_BYTES,
    BoundedHttpProtocol,
    bound_connections,
)
from tests.app.harness import wait_for

MAX_MESSAGE_BYTES = 1 << 16
OK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def count_body(_scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = json.dumps(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def run(protocol: type[BoundedHttpProtocol]) -> Iterator[int]:
    config = uvicorn.Config(count_body, port=0, http=protocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not protocol.open_by_address


@pytest.fixture(scope="module")
def patient() -> Iterator[int]:
    """The port of a server whose deadline no test waits for."""
    protocol = bound_connections(per_address=50, max_message_bytes=MAX_MESSAGE_BYTES)
    protocol.header_seconds = 300
    with run(protocol) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def read_response(connection: socket.socket) -> tuple[int, Any]:
    """Read one response with a length; status 0 if the connection was closed without one."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        if not part:
            return 0, {}
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split(b" ")[1]), json.loads(body)


def ask(port: int, *parts: bytes) -> tuple[int, Any]:
    with connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        return read_response(connection)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /" + b"a" * (MAX_URL_BYTES - 1) + b" HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        (b"GET /" + b"a" * MAX_URL_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\na: " + b"b" * (MAX_HEADER_BYTES - 1) + b"\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\na: " + b"b" * MAX_HEADER_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MAX_HEADERS + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", 431),
        (b"NONSENSE\r\n\r\n", 400),
    ],
)
def test_url_and_headers_have_a_size(patient: int, request_head: bytes, status: int) -> None:
    found, body = ask(patient, request_head)
    assert found == status
    assert status == 200 or (body["status"], body["type"]) == (status, "about:blank")


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\na: ", b"GET / HTTP/1.1\r\na"])
def test_what_never_ends_is_cut_off_soon(patient: int, start: bytes) -> None:
    sent = 0
    with connect(patient) as connection:
        try:
            connection.sendall(start)
            while sent < 64 << 20:
                connection.sendall(b"b" * 65_536)
                sent += 65_536
        except (ConnectionResetError, BrokenPipeError):
            pass
    # What the server reads at most, and what sockets hold.
    assert sent < 16 << 20
    assert ask(patient, OK)[0] == 200


def test_trailers_and_bodies_without_end_are_cut_off(patient: int) -> None:
    for head, more in (
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 1000),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: ", b"b" * 65_536),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=", b"b" * 65_536),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"1;x\r\na\r\n" * 8_000),
    ):
        sent = 0
        with connect(patient) as connection:
            try:
                connection.sendall(head)
                while sent < 64 << 20:
                    connection.sendall(more)
                    sent += len(more)
            except (ConnectionResetError, BrokenPipeError):
                pass
        assert sent < 32 << 20, head
    assert ask(patient, OK)[0] == 200


def test_a_large_body_in_bounds_and_further_requests_pass(patient: int) -> None:
    body = b"x" * (MAX_MESSAGE_BYTES - 100)
    message = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with connect(patient) as connection:
        for _ in range(5):
            connection.sendall(message)
            assert read_response(connection) == (200, len(body))
            connection.sendall(OK[:10])
            connection.sendall(OK[10:])
            assert read_response(connection) == (200, 0)


@pytest.mark.parametrize("start", [b"", b"GET", OK[:-2], OK + b"GET / HTTP/1.1\r\n"])
def test_silent_and_dripping_connections_end_at_the_deadline(start: bytes) -> None:
    protocol = bound_connections(per_address=50, max_message_bytes=MAX_MESSAGE_BYTES)
    protocol.header_seconds = 0.5
    with run(protocol) as port, connect(port) as connection:
        connection.sendall(start)
        if start.startswith(OK):
            assert read_response(connection)[0] == 200
        status, body = read_response(connection)
        assert status in (0, 408), body
        assert connection.recv(1) == b""
        wait_for(lambda: not protocol.open_by_address)


def test_drops_of_a_header_do_not_move_the_deadline() -> None:
    protocol = bound_connections(per_address=50, max_message_bytes=MAX_MESSAGE_BYTES)
    protocol.header_seconds = 0.5
    with run(protocol) as port, connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\na: ")
        connection.settimeout(0.05)
        n_drops = 0
        while n_drops < 6_000:
            n_drops += 1
            try:
                connection.sendall(b"b")
                if connection.recv(1024) != b"":
                    break
                break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        assert n_drops < 6_000


def test_one_address_has_a_number_of_connections_unless_it_is_a_proxy() -> None:
    protocol = bound_connections(per_address=3, max_message_bytes=MAX_MESSAGE_BYTES)
    with run(protocol) as port, ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(3)]
        for connection in held:
            connection.sendall(OK)
            assert read_response(connection)[0] == 200
        status, body = ask(port)
        assert (status, body["title"]) == (429, "Too Many Requests")
        held[0].close()
        wait_for(lambda: protocol.open_by_address["127.0.0.1"] == 2)
        assert ask(port, OK)[0] == 200
    proxies = [ip_network("10.0.0.0/8"), ip_network("127.0.0.1")]
    trusting = bound_connections(per_address=1, max_message_bytes=MAX_MESSAGE_BYTES, exempt=proxies)
    with run(trusting) as port, ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connect(port))
            connection.sendall(OK)
            assert read_response(connection)[0] == 200
