"""How the service writes its log: lines for users, or one JSON object a line for whoever collects them."""

import json
import logging
from datetime import UTC, datetime
from typing import Literal

REQUEST_FIELDS = ("request_id", "method", "route", "status", "milliseconds", "kind")
_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields of a request, and a trace if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; nothing but the named fields is taken from it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in REQUEST_FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logs(level: str, style: Literal["text", "json"]) -> None:
    """Send the log of the whole process to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler])
