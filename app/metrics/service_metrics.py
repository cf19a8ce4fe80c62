"""Metrics of one process of the service."""

import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

import recsys
from recsys.revision import find_revision

# Up to the time after which a response is given up.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_FALLBACK = "new_user"


@cache
def _find_revision() -> str:
    return find_revision() or "unknown"


class ServiceMetrics:
    """Metrics of one application in its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._add_requests()
        self._add_lists()
        self._add_model()
        self._add_shadow()
        # A series that exists from the start has a rate from the first event on.
        for counter, values in (
            (self._cache, ("hit", "miss", "error")),
            (self._limited, ("requests", "events", "registrations")),
            (self._shadow, ("compared", "failed", "skipped")),
        ):
            for value in values:
                counter.labels(value)

    def _add_requests(self) -> None:
        self._requests = Counter(
            "otaku_requests",
            "Requests by route and status.",
            ["route", "method", "status", "kind"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "otaku_request_duration_seconds",
            "From the first byte of a request to the last of its response.",
            ["route", "kind"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "otaku_requests_in_flight", "Requests without a complete response.", registry=self.registry
        )
        self._waiting = Gauge(
            "otaku_queue_requests",
            "Requests that wait for a thread or are computed.",
            ["queue"],
            registry=self.registry,
        )
        self._most_waiting = Gauge(
            "otaku_queue_limit_requests",
            "Requests beyond which more are turned away.",
            ["queue"],
            registry=self.registry,
        )
        self._turned_away = Counter(
            "otaku_queue_rejected", "Requests that were turned away.", ["queue"], registry=self.registry
        )
        self._limited = Counter(
            "otaku_rate_limited", "Requests beyond a limit, by what is limited.", ["limit"], registry=self.registry
        )

    def _add_lists(self) -> None:
        self._recommendations = Counter(
            "otaku_recommendations", "Lists by kind and algorithm.", ["kind", "algorithm"], registry=self.registry
        )
        self._fallbacks = Counter(
            "otaku_fallbacks", "Lists by popularity, for users without a history.", registry=self.registry
        )
        self._cache = Counter(
            "otaku_cache_requests", "Lookups in the response cache.", ["result"], registry=self.registry
        )
        self._requests_by_version = Counter(
            "otaku_answers", "Recommendations by model version.", ["version", "role"], registry=self.registry
        )

    def _add_model(self) -> None:
        build = Info("otaku_build", "The release that runs.", registry=self.registry)
        build.info({"version": recsys.__version__, "revision": _find_revision(), "python": platform.python_version()})
        self._version = Gauge("otaku_model_version", "Number of the served version.", registry=self.registry)
        self._loaded = Gauge("otaku_model_loaded_timestamp_seconds", "Since when it is served.", registry=self.registry)
        self._model = Info("otaku_model", "The model version that is served.", registry=self.registry)
        self._swaps = Counter("otaku_model_swaps", "Model versions that took over.", registry=self.registry)
        self._refusals = Counter("otaku_model_refusals", "Model versions that were refused.", registry=self.registry)
        self._failures = Counter(
            "otaku_model_refresh_failures", "Failed polls of the registry.", registry=self.registry
        )
        self._refreshed = Gauge(
            "otaku_model_last_refresh_timestamp_seconds",
            "Time of the last successful poll of the registry.",
            registry=self.registry,
        )
        self._degraded = Gauge(
            "otaku_degraded", "1 while a part is away or a promoted version is refused.", registry=self.registry
        )

    def _add_shadow(self) -> None:
        self._shadow = Counter("otaku_shadow", "Shadowed requests by result.", ["result"], registry=self.registry)
        shares = [step / 10 for step in range(11)]
        self._overlap = Histogram(
            "otaku_shadow_overlap_at_10",
            "Share of the ten best titles that challenger and Production have in common.",
            buckets=shares,
            registry=self.registry,
        )
        self._correlation = Histogram(
            "otaku_shadow_rank_correlation",
            "Spearman's rank correlation -1..1 over the titles that either list holds.",
            buckets=[-1.0, -0.5, *shares],
            registry=self.registry,
        )
        self._shadow_seconds = Histogram(
            "otaku_shadow_duration_seconds",
            "Time that the challenger takes per request.",
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count_request(self, route: str, method: str, status: int, kind: str, seconds: float) -> None:
        """Count one answered request; `route` is a template, `kind` the kind of recommendation or empty."""
        self._requests.labels(route, method, str(status), kind).inc()
        self._seconds.labels(route, kind).observe(seconds)

    def track_request(self) -> AbstractContextManager[None]:
        """Count a request as in flight while the block runs."""
        return self._in_flight.track_inprogress()

    def watch_queue(self, name: str, count: Callable[[], int], limit: int) -> None:
        """Read how many requests a queue holds at every scrape."""
        self._waiting.labels(name).set_function(count)
        self._most_waiting.labels(name).set(limit)
        self._turned_away.labels(name)

    def count_rejection(self, queue: str) -> None:
        """Count a request that a full or slow queue turned away."""
        self._turned_away.labels(queue).inc()

    def count_limited(self, limit: str) -> None:
        """Count a request beyond a limit: `requests`, `events` or `registrations`."""
        self._limited.labels(limit).inc()

    def count_recommendation(self, kind: str, algorithm: str) -> None:
        """Count a list, computed or from the cache."""
        self._recommendations.labels(kind, algorithm).inc()
        if kind == _FALLBACK:
            self._fallbacks.inc()

    def count_swap(self, name: str, version: int, run_id: str) -> None:
        """Record the model version that serves now."""
        self._model.info({"name": name, "version": str(version), "run_id": run_id})
        self._version.set(version)
        self._loaded.set_to_current_time()
        self._swaps.inc()

    def count_refusal(self) -> None:
        """Count a refused model version."""
        self._refusals.inc()

    def count_refresh(self, *, succeeded: bool) -> None:
        """Count a poll of the registry."""
        if succeeded:
            self._refreshed.set(time.time())
        else:
            self._failures.inc()

    def watch_degraded(self, is_degraded: Callable[[], bool]) -> None:
        """Set the gauge of degradation from a function at every scrape."""
        self._degraded.set_function(lambda: float(is_degraded()))

    def count_cache(self, result: str) -> None:
        """Count a hit, a miss, a miss that a stored list answers (`scored`), or an error of the cache."""
        self._cache.labels(result).inc()

    def count_response(self, version: int, role: str, n: int = 1) -> None:
        """Count responses by model version; `role` is production or challenger."""
        self._requests_by_version.labels(str(version), role).inc(n)

    def count_shadow(self, result: str) -> None:
        """Count a shadowed request: compared, failed or skipped."""
        self._shadow.labels(result).inc()

    def observe_shadow(self, overlap: float, correlation: float, seconds: float) -> None:
        """Observe how a list of the challenger compares with that of Production."""
        self._overlap.observe(overlap)
        self._correlation.observe(correlation)
        self._shadow_seconds.observe(seconds)

    def render(self) -> bytes:
        """Return the text format of Prometheus."""
        return generate_latest(self.registry)
