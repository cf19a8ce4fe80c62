"""Figures of this process, read from the registry that `GET /metrics` renders."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from prometheus_client import CollectorRegistry

FALLBACK: Final = "new_user"


@dataclass(frozen=True)
class ServiceFigures:
    """Requests since the process started, without probes and scrapes.

    Parameters
    ----------
    p50, p95, p99
        Seconds of recommendations, interpolated within the buckets of the histogram; None without any.
    fallback_share, cache_share, shadow_overlap
        Shares 0..1; None where nothing was counted.
    """

    n_requests: int
    n_errors: int
    n_recommendations: int
    p50: float | None
    p95: float | None
    p99: float | None
    fallback_share: float | None
    cache_share: float | None
    shadow_overlap: float | None
    n_swaps: int
    n_refusals: int

    @property
    def error_share(self) -> float:
        """Share of requests that ended with 5xx, 0..1."""
        return self.n_errors / self.n_requests if self.n_requests else 0.0


def read_figures(registry: CollectorRegistry) -> ServiceFigures:
    """Read the figures of all routes."""
    statuses: defaultdict[str, float] = defaultdict(float)
    kinds: defaultdict[str, float] = defaultdict(float)
    buckets: defaultdict[float, float] = defaultdict(float)
    cache: defaultdict[str, float] = defaultdict(float)
    single: defaultdict[str, float] = defaultdict(float)
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name == "otaku_requests_total" and not is_probe(sample.labels["route"]):
                statuses[sample.labels["status"]] += sample.value
                if sample.labels["kind"]:
                    kinds[sample.labels["kind"]] += sample.value
            elif sample.name == "otaku_request_duration_seconds_bucket" and sample.labels["kind"]:
                buckets[float(sample.labels["le"])] += sample.value
            elif sample.name == "otaku_cache_requests_total":
                cache[sample.labels["result"]] += sample.value
            elif not sample.labels:
                single[sample.name] += sample.value
    counts = sorted(buckets.items())
    return ServiceFigures(
        n_requests=int(sum(statuses.values())),
        n_errors=int(sum(n for status, n in statuses.items() if status.startswith("5"))),
        n_recommendations=int(sum(kinds.values())),
        p50=compute_quantile(counts, 0.5),
        p95=compute_quantile(counts, 0.95),
        p99=compute_quantile(counts, 0.99),
        fallback_share=_divide(kinds[FALLBACK], sum(kinds.values())),
        cache_share=_divide(cache["hit"], cache["hit"] + cache["miss"]),
        shadow_overlap=_divide(single["otaku_shadow_overlap_at_10_sum"], single["otaku_shadow_overlap_at_10_count"]),
        n_swaps=int(single["otaku_model_swaps_total"]),
        n_refusals=int(single["otaku_model_refusals_total"]),
    )


def is_probe(route: str) -> bool:
    """Tell whether a route is asked by machines that watch the service: an instance that starts answers them 503."""
    return route.startswith("/health/") or route == "/metrics"


def _divide(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def compute_quantile(cumulated: list[tuple[float, float]], share: float) -> float | None:
    """Interpolate a quantile within cumulated buckets, as Prometheus' `histogram_quantile` does.

    >>> compute_quantile([(0.1, 50.0), (0.2, 100.0), (float("inf"), 100.0)], 0.75)
    0.15
    """
    total = cumulated[-1][1] if cumulated else 0.0
    if not total:
        return None
    wanted = share * total
    for (low, below), (high, reached) in pairwise([(0.0, 0.0), *cumulated]):
        if reached >= wanted:
            if high == float("inf"):
                return low
            inside = (wanted - below) / (reached - below) if reached > below else 0.0
            return round(low + (high - low) * inside, 6)
    return cumulated[-1][0]
