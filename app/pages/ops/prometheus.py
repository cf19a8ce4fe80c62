"""Figures of all instances over the last hours, from Prometheus."""

import logging
import math
import urllib.parse
from dataclasses import dataclass, fields
from typing import Final

from fastapi.concurrency import run_in_threadpool

from app.pages.ops.figures import ServiceFigures
from app.pages.ops.json_client import send_json
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings

logger = logging.getLogger(__name__)
HOURS: Final = 3
# Requests of clients, as the alerts count them: no probes, no scrapes.
_CLIENTS: Final = 'route!~"/health/.*|/metrics"'


def _count(selector: str) -> str:
    return f"sum(increase({selector}[{HOURS}h]))"


def _divide(part: str, whole: str) -> str:
    # A series that nothing was counted in does not exist yet.
    return f"({_count(part)} or vector(0)) / ({_count(whole)} > 0)"


def _quantile(share: float) -> str:
    rates = f'sum by (le) (rate(otaku_request_duration_seconds_bucket{{kind!=""}}[{HOURS}h]))'
    return f"histogram_quantile({share}, {rates})"


# The fields of `ServiceFigures` in PromQL.
QUERIES: Final = {
    "n_requests": _count(f"otaku_requests_total{{{_CLIENTS}}}"),
    "n_errors": _count(f'otaku_requests_total{{status=~"5..",{_CLIENTS}}}'),
    "n_recommendations": _count('otaku_requests_total{kind!=""}'),
    "p50": _quantile(0.5),
    "p95": _quantile(0.95),
    "p99": _quantile(0.99),
    "fallback_share": _divide('otaku_requests_total{kind="new_user"}', 'otaku_requests_total{kind!=""}'),
    "cache_share": _divide(
        'otaku_cache_requests_total{result="hit"}', 'otaku_cache_requests_total{result=~"hit|miss"}'
    ),
    "shadow_overlap": _divide("otaku_shadow_overlap_at_10_sum", "otaku_shadow_overlap_at_10_count"),
    "n_swaps": _count("otaku_model_swaps_total"),
    "n_refusals": _count("otaku_model_refusals_total"),
}


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that scrapes the instances of the service; without an address nothing is asked."""

    url: str | None

    @classmethod
    def build(cls, settings: Settings) -> "Prometheus":
        """Read where Prometheus is."""
        return cls(str(settings.prometheus_url).rstrip("/") if settings.prometheus_url else None)

    async def read_figures(self) -> ServiceFigures | None:
        """Read the figures of the last `HOURS`; None where Prometheus is not set or away."""
        if self.url is None:
            return None
        try:
            return await run_in_threadpool(self._read)
        except ServiceUnavailableError as error:
            logger.warning("%s", error)
            return None

    def _read(self) -> ServiceFigures:
        values = {name: self._query(query) for name, query in QUERIES.items()}
        counts = {field.name for field in fields(ServiceFigures) if field.type is int}
        return ServiceFigures(**{n: round(v or 0) if n in counts else v for n, v in values.items()})  # type: ignore[arg-type]

    def _query(self, query: str) -> float | None:
        found = send_json(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        try:
            rows = found["data"]["result"]
            value = float(rows[0]["value"][1]) if rows else math.nan
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ServiceUnavailableError(f"{self.url} does not answer as Prometheus does") from error
        return None if math.isnan(value) else value
