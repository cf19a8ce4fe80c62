import asyncio

import pytest

from app.guard.limits import RateLimiter, parse_rate_limit
from app.metrics import ServiceMetrics
from app.stores.response_cache import MemoryCache, RedisCache, ResponseCache, build_key
from recsys.exceptions import ConfigurationError
from tests.app.harness import RedisServer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_least_recently_used_answer_goes_first_and_an_old_one_in_any_case() -> None:
    async def scenario() -> None:
        clock = Clock()
        cache = MemoryCache(10, 60, clock)
        await cache.put("a", b"12345")
        await cache.put("b", b"67890")
        assert await cache.get("a") == b"12345"
        await cache.put("c", b"x")
        assert [await cache.get(key) for key in "abc"] == [b"12345", None, b"x"]
        await cache.put("d", b"too long for it")
        assert await cache.get("d") is None
        assert await cache.get("a") == b"12345"
        clock.now = 60
        assert await cache.get("a") is None

    asyncio.run(scenario())


@pytest.mark.parametrize("cache", [MemoryCache(0, 60), MemoryCache(100, 0)])
def test_a_cache_without_room_or_time_keeps_nothing(cache: MemoryCache) -> None:
    async def scenario() -> None:
        await cache.put("a", b"1")
        assert await cache.get("a") is None

    asyncio.run(scenario())


async def check_ownership(cache: ResponseCache) -> None:
    await cache.put("a", b"1", "7")
    await cache.put("b", b"2", "7")
    await cache.put("c", b"3", "8")
    await cache.put("d", b"4")
    assert [await cache.get(key) for key in "abcd"] == [b"1", b"2", b"3", b"4"]
    await cache.invalidate("7")
    await cache.invalidate("nobody")
    assert [await cache.get(key) for key in "abcd"] == [None, None, b"3", b"4"]
    await cache.close()


def test_what_is_about_a_user_can_be_invalidated() -> None:
    asyncio.run(check_ownership(MemoryCache(1000, 60)))


def test_what_is_about_a_user_can_be_invalidated_in_redis(redis_server: RedisServer) -> None:
    asyncio.run(check_ownership(RedisCache(redis_server.url, 60, ServiceMetrics())))


def test_redis_that_is_down_is_no_cache_and_back_is_one_again(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stores.response_cache.PAUSE_SECONDS", 0.0)
    metrics = ServiceMetrics()

    async def scenario() -> None:
        cache = RedisCache(redis_server.url, 60, metrics)
        await cache.put("a", b"1")
        assert await cache.get("a") == b"1"
        redis_server.stop()
        await cache.put("a", b"2", "7")
        await cache.invalidate("7")
        assert await cache.get("a") is None
        redis_server.start()
        assert await cache.get("a") is None  # it came back empty
        await cache.put("a", b"3")
        assert await cache.get("a") == b"3"
        await cache.close()

    asyncio.run(scenario())
    assert b'otaku_cache_requests_total{result="error"} 3.0' in metrics.render()


def test_redis_that_is_down_is_left_alone_for_a_moment(redis_server: RedisServer) -> None:
    metrics = ServiceMetrics()

    async def scenario() -> None:
        cache = RedisCache(redis_server.url, 60, metrics)
        redis_server.stop()
        for _ in range(50):
            assert await cache.get("a") is None
        await cache.close()

    asyncio.run(scenario())
    assert b'otaku_cache_requests_total{result="error"} 1.0' in metrics.render()


def test_a_key_differs_with_every_part_and_tells_none() -> None:
    keys = [build_key("m", "1", "ab"), build_key("m", "1a", "b"), build_key("m", "1", "\ud800"), build_key("m1", "ab")]

    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)


async def use_up(limiter: RateLimiter) -> list[bool]:
    limit = parse_rate_limit("3/day")
    allowed = [(await limiter.count(limit, "one")).allowed for _ in range(4)]
    assert (await limiter.count(limit, "another")).allowed
    return allowed


def test_a_client_may_ask_so_often_and_no_more() -> None:
    assert asyncio.run(use_up(RateLimiter())) == [True, True, True, False]


def test_instances_count_together_in_redis_and_alone_without(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        one, other = RateLimiter(redis_server.url), RateLimiter(redis_server.url)
        assert await use_up(one) == [True, True, True, False]
        limit = parse_rate_limit("3/day")
        assert not (await other.count(limit, "one")).allowed
        redis_server.stop()
        assert (await other.count(limit, "one")).allowed
        await one.close()
        await other.close()

    asyncio.run(scenario())


def test_a_limit_is_told_in_headers() -> None:
    async def scenario() -> None:
        limiter, limit = RateLimiter(), parse_rate_limit("2/day")
        first = (await limiter.count(limit, "one")).headers
        assert first["RateLimit-Policy"] == '"default";q=2;w=86400'
        assert first["RateLimit"].startswith('"default";r=1;t=')
        assert "Retry-After" not in first
        await limiter.count(limit, "one")
        assert 1 <= int((await limiter.count(limit, "one")).headers["Retry-After"]) <= 86_400

    asyncio.run(scenario())


def test_a_limit_that_is_none_is_named() -> None:
    with pytest.raises(ConfigurationError, match="600/minute"):
        parse_rate_limit("many")
