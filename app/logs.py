"""Log lines of the service: text for a terminal, or one JSON object per line for log collectors."""

import logging
from typing import Any, Literal

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

REQUEST_FIELDS = ("request_id", "method", "route", "status", "milliseconds", "kind")
_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RENAMED = {"levelname": "level", "name": "logger", "exc_info": "trace"}
_FIELDS = frozenset({"time", "level", "logger", "message", "trace", *REQUEST_FIELDS})


class JsonFormatter(BaseFormatter):
    """One JSON object per line: time, level, logger, message, the fields of a request, and a trace if there is one.

    Other attributes that a library attaches to its records are dropped.
    """

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"], rename_fields=_RENAMED, timestamp="time", json_ensure_ascii=False
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Keep the documented fields."""
        return {name: value for name, value in log_data.items() if name in _FIELDS}


def configure_logs(level: str, style: Literal["text", "json"]) -> None:
    """Write the log of the whole process to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler])
