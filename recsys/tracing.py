"""OpenTelemetry traces, sent where `OTEL_EXPORTER_OTLP_ENDPOINT` says; without it a span costs nothing.

The other variables of OpenTelemetry hold as well (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, and those of the exporter
itself). A process continues the trace that `TRACEPARENT` names, so that the tasks of one run, and the request that
asked for it, are one trace (https://opentelemetry.io/docs/specs/otel/context/env-carriers/).
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRACEPARENT: Final = "TRACEPARENT"
_NAME: Final = "otaku"


def configure_tracing(service_name: str, *, exporter: "SpanExporter | None" = None) -> bool:
    """Send the spans of this process to the endpoint of the environment; returns whether there is one.

    Parameters
    ----------
    service_name
        Unless `OTEL_SERVICE_NAME` names another.
    exporter
        Receives the spans instead of the endpoint.
    """
    if exporter is None and not any(os.environ.get(name) for name in ENDPOINTS):
        return False
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return True
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if exporter is None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            logger.warning("no trace is sent: opentelemetry-exporter-otlp-proto-http is not installed")
            return False
        exporter = OTLPSpanExporter()
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service_name}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return True


def flush_traces() -> None:
    """Send what is left; a process that ends does so by itself."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()


@contextmanager
def start_span(
    name: str, *, parent: Context | None = None, is_server: bool = False, **attributes: str | int | float
) -> Iterator[trace.Span]:
    """Trace a block; an error that leaves it is recorded. Names of attributes have dots for underscores.

    Parameters
    ----------
    parent
        What `read_parent` found; by default the span around the block.
    is_server
        Whether the block answers a request of another process.
    """
    kind = trace.SpanKind.SERVER if is_server else trace.SpanKind.INTERNAL
    named = {key.replace("_", "."): value for key, value in attributes.items()}
    tracer = trace.get_tracer(_NAME)
    with tracer.start_as_current_span(name, context=parent, kind=kind, attributes=named) as span:
        yield span


def read_parent(carrier: Mapping[str, str]) -> Context:
    """Read which span of another process this one continues, from the headers of a request by lower-case name."""
    return extract(carrier)


def read_environment_parent() -> Context | None:
    """Read which trace the process was started in; None if in none."""
    parent = os.environ.get(TRACEPARENT)
    return extract({"traceparent": parent}) if parent else None


def write_parent() -> dict[str, str]:
    """Write the present span as headers for another process; empty outside any trace."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


def find_trace_id() -> str | None:
    """Return the id of the present trace as 32 hexadecimal digits; None outside any."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
