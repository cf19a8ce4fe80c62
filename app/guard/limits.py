"""How often a client may ask: counted in memory, or in the Redis that all instances share."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from recsys.exceptions import ConfigurationError

logger = logging.getLogger(__name__)
REDIS_SECONDS = 0.2
PAUSE_SECONDS = 1.0


def parse_rate_limit(text: str) -> RateLimitItem:
    """Read a limit such as `600/minute`.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no rate limit; write one such as 600/minute") from error


@dataclass(frozen=True)
class Allowance:
    """What a client may still do: this request or not, how many more, and in how many seconds again."""

    allowed: bool
    limit: RateLimitItem
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Say so in the headers of draft-ietf-httpapi-ratelimit-headers."""
        seconds = self.limit.get_expiry()
        told = {
            "RateLimit-Policy": f'"default";q={self.limit.amount};w={seconds}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset_seconds}',
        }
        return told if self.allowed else told | {"Retry-After": str(self.reset_seconds)}


class RateLimiter:
    """Counts requests per client over a sliding window.

    Parameters
    ----------
    redis_url
        Where instances count together; while it is down, and without one, every instance counts alone.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._pool: ConnectionPool | None = None
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._together: SlidingWindowCounterRateLimiter | None = None
        self._down_until = 0.0
        if redis_url is not None:
            timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
            self._pool = ConnectionPool.from_url(redis_url, **timeouts)
            options: dict[str, Any] = {
                "wrap_exceptions": True,
                "implementation": "redispy",
                "connection_pool": self._pool,
            }
            # The pool says where; the address here only says that it is Redis.
            storage = RedisStorage("async+redis://", **options)
            self._together = SlidingWindowCounterRateLimiter(storage)

    async def count(self, limit: RateLimitItem, client: str) -> Allowance:
        """Count one request of a client and tell whether it is within the limit."""
        if self._together is not None and time.monotonic() >= self._down_until:
            try:
                return await _count(self._together, limit, client)
            except (StorageError, OSError, TimeoutError) as error:
                self._down_until = time.monotonic() + PAUSE_SECONDS
                logger.warning("Redis does not answer, requests are counted here alone: %s", type(error).__name__)
        return await _count(self._alone, limit, client)

    async def close(self) -> None:
        """Let go of connections; counting goes on with new ones if need be."""
        if self._pool is not None:
            await self._pool.aclose()


async def _count(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, client: str) -> Allowance:
    allowed = await limiter.hit(limit, client)
    window = await limiter.get_window_stats(limit, client)
    seconds = max(1, round(window.reset_time - time.time()))
    return Allowance(allowed, limit, max(0, int(window.remaining)), seconds)
