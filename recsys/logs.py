"""Log lines of the service and the jobs: text for a terminal, or one JSON object per line for log collectors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

from recsys.tracing import find_trace_id

REQUEST_FIELDS: Final = ("request_id", "method", "route", "status", "milliseconds", "kind")
RUN_FIELDS: Final = ("job", "run")
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RENAMED: Final = {"levelname": "level", "name": "logger", "exc_info": "trace"}
_FIELDS: Final = frozenset({"time", "level", "logger", "message", "trace", *REQUEST_FIELDS})
_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)


class JsonFormatter(BaseFormatter):
    """One JSON object per line: time, level, logger, message, the fields of a request, and a trace if there is one.

    The ids of the request, of the run of a job, and of the trace that a line belongs to stand on every line. Other
    attributes that a library attaches to its records are dropped.
    """

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"], rename_fields=_RENAMED, timestamp="time", json_ensure_ascii=False
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Keep the documented fields and add the ids."""
        found = {name: value for name, value in log_data.items() if name in _FIELDS}
        found = {**(_context.get() or {}), **found}
        trace_id = find_trace_id()
        return found if trace_id is None else {**found, "trace_id": trace_id}


@contextmanager
def log_context(**ids: str) -> Iterator[None]:
    """Let every JSON line of the block carry ids: `request_id`, or `job` and `run`."""
    token = _context.set({**(_context.get() or {}), **ids})
    try:
        yield
    finally:
        _context.reset(token)


def configure_logs(level: str, style: Literal["text", "json"]) -> None:
    """Write the log of the whole process to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler])
