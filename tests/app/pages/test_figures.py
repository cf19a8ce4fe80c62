"""Figures of the operations page are those of clients, not of what watches the service."""

from app.metrics.service_metrics import ServiceMetrics
from app.pages.ops.figures import read_figures


def test_an_instance_that_was_not_ready_has_spent_no_error_budget() -> None:
    metrics = ServiceMetrics()
    for _ in range(10):
        metrics.count_request("/health/ready", "GET", 503, "", 0.001)
        metrics.count_request("/metrics", "GET", 200, "", 0.001)
    metrics.count_request("/recommend/", "POST", 200, "user", 0.01)
    metrics.count_request("/recommend/", "POST", 503, "user", 0.01)
    figures = read_figures(metrics.registry)
    assert (figures.n_requests, figures.n_errors, figures.error_share) == (2, 1, 0.5)
