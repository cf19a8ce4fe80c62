"""What Prometheus reads from `/metrics`; no label ever names a person."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ServiceMetrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "otaku_requests", "Requests answered.", ["route", "method", "status", "kind"], registry=self.registry
        )
        self._seconds = Histogram(
            "otaku_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route", "kind"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._model = Info("otaku_model", "The model version that is served.", registry=self.registry)
        self._swaps = Counter("otaku_model_swaps", "Model versions that took over.", registry=self.registry)
        self._refusals = Counter("otaku_model_refusals", "Model versions that were refused.", registry=self.registry)
        self._failures = Counter(
            "otaku_model_refresh_failures", "Times the registry could not be asked.", registry=self.registry
        )
        self._refreshed = Gauge(
            "otaku_model_last_refresh_timestamp_seconds",
            "When the registry was last asked with success.",
            registry=self.registry,
        )

    def count_request(self, route: str, method: str, status: int, kind: str, seconds: float) -> None:
        """Count one answered request; `route` is a template, `kind` the kind of recommendation or empty."""
        self._requests.labels(route, method, str(status), kind).inc()
        self._seconds.labels(route, kind).observe(seconds)

    def count_swap(self, name: str, version: int, run_id: str) -> None:
        """Note which model version is served from now on."""
        self._model.info({"name": name, "version": str(version), "run_id": run_id})
        self._swaps.inc()

    def count_refusal(self) -> None:
        """Note that a model version was refused."""
        self._refusals.inc()

    def count_refresh(self, *, succeeded: bool) -> None:
        """Note that the registry was asked."""
        if succeeded:
            self._refreshed.set(time.time())
        else:
            self._failures.inc()

    def render(self) -> bytes:
        """Return the text format of Prometheus."""
        return generate_latest(self.registry)
