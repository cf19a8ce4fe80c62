"""Prometheus metrics of the service and, from the tables, of the jobs; no label identifies a user."""

from app.metrics.pipeline_metrics import PipelineMetrics
from app.metrics.service_metrics import ServiceMetrics

__all__ = ["PipelineMetrics", "ServiceMetrics"]
