"""Cached responses, in memory or in a Redis that several instances share.

A key covers the model version, the user's data and the whole request, so that an entry is never stale. A cache that
does not answer counts as a miss, never as an error.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import redis.asyncio
from cachetools import TTLCache
from redis.exceptions import RedisError

from app.circuit_breaker import CircuitBreaker
from app.metrics import ServiceMetrics

logger = logging.getLogger(__name__)
REDIS_SECONDS = 0.2
PAUSE_SECONDS = 1.0
_PREFIX = "otaku:"

T = TypeVar("T")


def build_key(*parts: str) -> str:
    """Return the key of an entry: one digest over all parts, so that it reveals nothing about the request."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class ResponseCache(Protocol):
    """Caches response bodies; `owner` is the user whose data a response shows, empty for none."""

    async def get(self, key: str) -> bytes | None:
        """Return a response, or None."""

    async def put(self, key: str, response: bytes, owner: str = "") -> None:
        """Store a response."""

    async def invalidate(self, owner: str) -> None:
        """Remove all responses that show the data of a user."""

    async def close(self) -> None:
        """Close connections."""


class MemoryCache:
    """Least recently used responses of this process.

    Parameters
    ----------
    max_bytes
        Size of all responses together; 0 disables the cache.
    seconds
        Time to live; 0 disables the cache.
    clock
        Monotonic seconds.
    """

    def __init__(self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TTLCache[str, tuple[str, bytes]] = TTLCache(
            max_bytes, seconds, timer=clock, getsizeof=lambda entry: len(entry[1])
        )

    async def get(self, key: str) -> bytes | None:
        """Return a response, or None."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    async def put(self, key: str, response: bytes, owner: str = "") -> None:
        """Store a response that fits."""
        with suppress(ValueError):  # larger than the whole cache
            self._entries[key] = (owner, response)

    async def invalidate(self, owner: str) -> None:
        """Remove all responses that show the data of a user."""
        for key in [key for key, entry in self._entries.items() if entry[0] == owner]:
            self._entries.pop(key, None)

    async def close(self) -> None:
        """Remove all responses."""
        self._entries.clear()


class RedisCache:
    """Responses in Redis; while it is down every lookup is a miss, and a second passes between two trials.

    Parameters
    ----------
    url
        `redis://host:port/database`.
    seconds
        Time to live.
    metrics
        Counts failures.
    """

    def __init__(self, url: str, seconds: int, metrics: ServiceMetrics) -> None:
        self._url = url
        self._seconds = seconds
        self._metrics = metrics
        self._client: Any = None
        self._breaker = CircuitBreaker(pause_seconds=PAUSE_SECONDS)

    async def get(self, key: str) -> bytes | None:
        """Return a response, or None."""
        return await self._try(lambda client: client.get(_PREFIX + key), None)

    async def put(self, key: str, response: bytes, owner: str = "") -> None:
        """Store a response."""
        if self._seconds <= 0:
            return

        async def write(client: Any) -> None:
            """Store the response, and its key under the owner's name."""
            async with client.pipeline(transaction=False) as pipe:
                pipe.set(_PREFIX + key, response, ex=self._seconds)
                if owner:
                    name = _name_owner(owner)
                    pipe.sadd(name, key)
                    pipe.expire(name, self._seconds)
                await pipe.execute()

        await self._try(write, None)

    async def invalidate(self, owner: str) -> None:
        """Remove all responses that show the data of a user."""

        async def delete(client: Any) -> None:
            """Delete all responses of the owner."""
            name = _name_owner(owner)
            keys = [_PREFIX + key.decode() for key in await client.smembers(name)]
            await client.delete(name, *keys)

        await self._try(delete, None)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
        self._client = None

    async def _try(self, work: Callable[[Any], Awaitable[T]], otherwise: T) -> T:
        if not self._breaker.allow():
            return otherwise
        token = self._breaker.begin()
        if self._client is None:
            timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
            self._client = redis.asyncio.from_url(self._url, **timeouts)
        try:
            result = await asyncio.wait_for(work(self._client), 2 * REDIS_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.record_failure(token)
            self._metrics.count_cache("error")
            logger.warning("Redis does not answer, nothing is cached: %s", type(error).__name__)
            return otherwise
        self._breaker.record_success()
        return result


def _name_owner(owner: str) -> str:
    return f"{_PREFIX}owner:{build_key(owner)}"
