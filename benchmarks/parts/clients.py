"""Many clients at once over HTTP/1.1, each on a connection that stays open."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parts.measuring import Latency


@dataclass(frozen=True)
class Load:
    """What a number of clients were given, and how fast."""

    n_clients: int
    per_second: float
    n_failed: int
    latency: Latency


def build_request(path: str, body: Any = None) -> bytes:
    """Spell a request: GET, or POST with a JSON body."""
    content = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def run_clients(port: int, requests: Sequence[bytes], *, n_clients: int, seconds: float) -> Load:
    """Send requests from concurrent clients, each taking the next request as soon as its last one is answered."""
    return asyncio.run(_run(port, requests, n_clients, seconds))


async def _run(port: int, requests: Sequence[bytes], n_clients: int, seconds: float) -> Load:
    durations: list[float] = []
    failures: list[bytes] = []
    begin = time.perf_counter()
    number = 0

    async def ask() -> None:
        """Send requests over one connection until the time is up."""
        nonlocal number
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() - begin < seconds:
            request = requests[number % len(requests)]
            number += 1
            start = time.perf_counter()
            writer.write(request)
            status = await _read_answer(reader)
            durations.append(time.perf_counter() - start)
            if status != b"200":
                failures.append(status)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask() for _ in range(n_clients)))
    elapsed = time.perf_counter() - begin
    return Load(n_clients, len(durations) / elapsed, len(failures), Latency.of(durations))


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    """Read one response to its end and return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lengths = [line.split(b":")[1] for line in lines if line.lower().startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0]))
    return lines[0].split(b" ")[1]
