"""Rate limits per client, counted in memory or in the Redis that all instances share."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from app.circuit_breaker import CircuitBreaker
from app.schemas.problems import ProblemError
from recsys.exceptions import ConfigurationError

logger = logging.getLogger(__name__)
REDIS_SECONDS = 0.2
PAUSE_SECONDS = 1.0


def parse_rate_limit(text: str) -> RateLimitItem:
    """Read a limit such as `600/minute`.

    Raises
    ------
    ConfigurationError
        If it cannot be parsed.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no rate limit; use the form 600/minute") from error


@dataclass(frozen=True)
class RateLimitStatus:
    """Whether a request is within the limit, how many more are, and seconds until the window resets."""

    allowed: bool
    limit: RateLimitItem
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Headers of draft-ietf-httpapi-ratelimit-headers, with Retry-After if refused."""
        seconds = self.limit.get_expiry()
        headers = {
            "RateLimit-Policy": f'"default";q={self.limit.amount};w={seconds}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset_seconds}',
        }
        return headers if self.allowed else headers | {"Retry-After": str(self.reset_seconds)}


class RateLimiter:
    """Counts requests per client in a sliding window.

    Parameters
    ----------
    redis_url
        Redis shared by all instances; while it is down, and without one, each instance counts alone.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._pool: ConnectionPool | None = None
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._together: SlidingWindowCounterRateLimiter | None = None
        self._breaker = CircuitBreaker(pause_seconds=PAUSE_SECONDS)
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

    async def count(self, limit: RateLimitItem, client: str, cost: int = 1) -> RateLimitStatus:
        """Count a request of a client, or several things at once, and return whether it is within the limit."""
        if self._together is not None and self._breaker.allow():
            token = self._breaker.begin()
            try:
                status = await _count(self._together, limit, client, cost)
            except (StorageError, OSError, TimeoutError) as error:
                self._breaker.record_failure(token)
                logger.warning("Redis does not answer, requests are counted per instance: %s", type(error).__name__)
            else:
                self._breaker.record_success()
                return status
        return await _count(self._alone, limit, client, cost)

    async def close(self) -> None:
        """Close connections; counting opens new ones if needed."""
        if self._pool is not None:
            await self._pool.aclose()


@dataclass(frozen=True)
class Quota:
    """How much of one thing an owner may add, such as events of a user; without a limit, as much as wanted.

    Parameters
    ----------
    things
        What is counted, in the plural; part of the message.
    on_refused
        Called with `things` for each request beyond the limit.
    """

    limiter: RateLimiter
    limit: RateLimitItem | None
    things: str
    on_refused: Callable[[str], None] = lambda _things: None

    async def take(self, owner: str, cost: int = 1) -> None:
        """Count things of an owner.

        Raises
        ------
        ProblemError
            429 with Retry-After beyond the limit.
        """
        if self.limit is None:
            return
        status = await self.limiter.count(self.limit, f"{self.things} of {owner}", cost)
        if not status.allowed:
            self.on_refused(self.things)
            detail = f"no more than {self.limit} {self.things} for {owner}"
            raise ProblemError(429, "too-many-requests", detail, headers=status.headers)


async def _count(
    limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, client: str, cost: int
) -> RateLimitStatus:
    allowed = await limiter.hit(limit, client, cost=cost)
    window = await limiter.get_window_stats(limit, client)
    seconds = max(1, round(window.reset_time - time.time()))
    return RateLimitStatus(allowed, limit, max(0, int(window.remaining)), seconds)
