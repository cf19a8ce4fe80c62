"""Answers that were given before: in memory, or in a Redis that several instances share.

A key names the model version, the state of the user's data and the whole question, so that an entry is either right
or never asked for again. A cache that does not answer is no cache, and never an error.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import redis.asyncio
from redis.exceptions import RedisError

from app.metrics import ServiceMetrics

logger = logging.getLogger(__name__)
REDIS_SECONDS = 0.2
PAUSE_SECONDS = 1.0
_PREFIX = "otaku:"

T = TypeVar("T")


def build_key(*parts: str) -> str:
    """Name an entry: one digest over all parts, so that no key reveals who asked for what."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class ResponseCache(Protocol):
    """Keeps answers for a while; `owner` is the user whose data an answer shows, empty if nobody's."""

    async def get(self, key: str) -> bytes | None:
        """Return an answer, or None."""

    async def put(self, key: str, answer: bytes, owner: str = "") -> None:
        """Keep an answer."""

    async def forget(self, owner: str) -> None:
        """Let go of all answers that show the data of a user."""

    async def close(self) -> None:
        """Let go of connections."""


class MemoryCache:
    """Answers in this process: the least recently used go first.

    Parameters
    ----------
    max_bytes
        Size of all answers together; 0 keeps none.
    seconds
        Age at which an answer goes; 0 keeps none.
    clock
        Seconds.
    """

    def __init__(self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._clock = clock
        self._size = 0
        self._answers: OrderedDict[str, tuple[float, str, bytes]] = OrderedDict()
        self._owned: dict[str, set[str]] = {}

    async def get(self, key: str) -> bytes | None:
        """Return an answer, or None."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return entry[2]

    async def put(self, key: str, answer: bytes, owner: str = "") -> None:
        """Keep an answer."""
        self._drop(key)
        if self._seconds <= 0 or len(answer) > self._max_bytes:
            return
        self._answers[key] = (self._clock() + self._seconds, owner, answer)
        self._size += len(answer)
        if owner:
            self._owned.setdefault(owner, set()).add(key)
        while self._size > self._max_bytes:
            self._drop(next(iter(self._answers)))

    async def forget(self, owner: str) -> None:
        """Let go of all answers that show the data of a user."""
        for key in list(self._owned.get(owner, ())):
            self._drop(key)

    async def close(self) -> None:
        """Let go of everything."""
        self._answers.clear()
        self._owned.clear()
        self._size = 0

    def _drop(self, key: str) -> None:
        entry = self._answers.pop(key, None)
        if entry is None:
            return
        self._size -= len(entry[2])
        keys = self._owned.get(entry[1], set())
        keys.discard(key)
        if not keys:
            self._owned.pop(entry[1], None)


class RedisCache:
    """Answers in Redis; while it is down nothing is kept, and it is left alone for a second after each failure.

    Parameters
    ----------
    url
        `redis://host:port/database`.
    seconds
        Age at which an answer goes.
    metrics
        Counts failures.
    """

    def __init__(self, url: str, seconds: int, metrics: ServiceMetrics) -> None:
        self._url = url
        self._seconds = seconds
        self._metrics = metrics
        self._client: Any = None
        self._down_until = 0.0

    async def get(self, key: str) -> bytes | None:
        """Return an answer, or None."""
        return await self._try(lambda client: client.get(_PREFIX + key), None)

    async def put(self, key: str, answer: bytes, owner: str = "") -> None:
        """Keep an answer."""
        if self._seconds <= 0:
            return

        async def write(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipe:
                pipe.set(_PREFIX + key, answer, ex=self._seconds)
                if owner:
                    name = _name_owner(owner)
                    pipe.sadd(name, key)
                    pipe.expire(name, self._seconds)
                await pipe.execute()

        await self._try(write, None)

    async def forget(self, owner: str) -> None:
        """Let go of all answers that show the data of a user."""

        async def delete(client: Any) -> None:
            name = _name_owner(owner)
            keys = [_PREFIX + key.decode() for key in await client.smembers(name)]
            await client.delete(name, *keys)

        await self._try(delete, None)

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
        self._client = None

    async def _try(self, work: Callable[[Any], Awaitable[T]], otherwise: T) -> T:
        if time.monotonic() < self._down_until:
            return otherwise
        if self._client is None:
            timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
            self._client = redis.asyncio.from_url(self._url, **timeouts)
        try:
            return await asyncio.wait_for(work(self._client), 2 * REDIS_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._down_until = time.monotonic() + PAUSE_SECONDS
            self._metrics.count_cache("error")
            logger.warning("Redis does not answer, nothing is cached: %s", type(error).__name__)
            return otherwise


def _name_owner(owner: str) -> str:
    return f"{_PREFIX}owner:{build_key(owner)}"
