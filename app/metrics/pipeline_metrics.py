"""Metrics of the jobs and the data, computed from the tables, so that they are there before and after any process.

Every instance of the service tells the same; take `max` over instances. `otaku_pipeline_up` is 0 while the database
does not tell them, and the others are absent then, so that no alert takes old numbers for new ones.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from recsys.storage.job_runs import SUCCEEDED, PipelineState

_FAILED: Final = "failed"


class PipelineMetrics(Collector):
    """Metric families over a state that is replaced as it is read."""

    def __init__(self) -> None:
        self.state: PipelineState | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the text format of Prometheus."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: what there is depends on the tables."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the families of the state."""
        state = self.state
        up = "1 if the database tells the state of jobs and data."
        yield GaugeMetricFamily("otaku_pipeline_up", up, float(state is not None))
        if state is None:
            return
        yield from _collect_jobs(state)
        yield from _collect_data(state)
        yield from _collect_decisions(state)


def _collect_jobs(state: PipelineState) -> Iterator[Metric]:
    runs = CounterMetricFamily("otaku_job_runs", "Runs of jobs that have ended.", labels=["name", "outcome"])
    success = GaugeMetricFamily("otaku_job_last_success_timestamp_seconds", "Last success.", labels=["name"])
    failure = GaugeMetricFamily("otaku_job_last_failure_timestamp_seconds", "Last failure.", labels=["name"])
    seconds = GaugeMetricFamily("otaku_job_last_duration_seconds", "Of the last success.", labels=["name"])
    for name, history in state.jobs.items():
        for outcome, n in history.n_runs.items():
            runs.add_metric([name, outcome], n)
        for family, value in (
            (success, history.last_ended.get(SUCCEEDED)),
            (failure, history.last_ended.get(_FAILED)),
            (seconds, history.last_seconds),
        ):
            if value is not None:
                family.add_metric([name], value)
    yield from (runs, success, failure, seconds)


def _collect_data(state: PipelineState) -> Iterator[Metric]:
    yield _gauges("otaku_table_rows", "Rows by table, as PostgreSQL estimates them.", "table", state.n_rows)
    yield _gauges("otaku_quarantined_rows", "Refused rows of input files by reason.", "reason", state.n_quarantined)
    yield CounterMetricFamily("otaku_arrivals_users", "Users that arrived.", state.arrived_users)
    yield CounterMetricFamily("otaku_arrivals_ratings", "Ratings of users that arrived.", state.arrived_ratings)
    day = "Begin of the newest day on which users arrived."
    yield from _optional("otaku_arrivals_last_day_timestamp_seconds", day, state.last_arrival)
    day = "Begin of the newest day whose drift was measured."
    yield from _optional("otaku_drift_last_day_timestamp_seconds", day, state.drift_day)
    if state.drift_day is not None:
        limit = "1 if a limit was passed on that day."
        yield GaugeMetricFamily("otaku_drift_breached", limit, float(state.is_drifted))
    yield _gauges("otaku_drift_psi", "Population stability index on that day.", "feature", state.psi)


def _collect_decisions(state: PipelineState) -> Iterator[Metric]:
    decisions = CounterMetricFamily("otaku_decisions", "Rows of the ledger by action.", labels=["action"])
    for action, n in state.n_decisions.items():
        decisions.add_metric([action], n)
    yield decisions
    refusals = "Decisions of the gate to keep since the last promotion or rollback."
    yield GaugeMetricFamily("otaku_gate_refusals_in_a_row", refusals, state.refusals_in_a_row)
    yield GaugeMetricFamily("otaku_approvals_waiting", "Promotions that wait for a person.", state.n_waiting)
    version = state.production_version
    yield from _optional("otaku_production_version", "Version in Production by the ledger.", version)
    since = "Since when it is in Production."
    yield from _optional("otaku_production_promoted_timestamp_seconds", since, state.promoted_at)
    day = "Begin of the day of the data that it was trained on."
    yield from _optional("otaku_production_trained_timestamp_seconds", day, state.trained_as_of)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _optional(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, text, value)
