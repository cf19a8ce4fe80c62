import json
import logging
import sys

import pytest

from recsys.logs import JsonFormatter
from tests.app.harness import TestClient


def test_a_request_is_one_line_of_json_without_anything_personal(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="app")

    body = {"ratings": {"1": 9, "5114": 10}, "liked": ["Monster"]}
    client.post("/recommend/", json=body, headers={"X-Request-ID": "id-7", "X-API-Key": "k3y-of-mine"})

    lines = [JsonFormatter().format(record) for record in caplog.records]
    (found,) = [json.loads(line) for line in lines if json.loads(line).get("request_id") == "id-7"]
    assert found.pop("milliseconds") > 0
    assert found.pop("time").endswith("+00:00")
    assert found.pop("message").startswith("id-7 POST /recommend/ 200 ")
    assert found == {
        "level": "INFO",
        "logger": "app.guard.middleware",
        "request_id": "id-7",
        "method": "POST",
        "route": "/recommend/",
        "status": 200,
        "kind": "new_user_with_history",
    }
    assert not any(secret in "".join(lines) for secret in ("5114", "Monster", "k3y-of-mine"))


def test_a_trace_stays_on_its_line() -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        record = logging.LogRecord("app", logging.ERROR, __file__, 1, "it %s", ("failed",), sys.exc_info())

    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert json.loads(line)["message"] == "it failed"
    assert "ZeroDivisionError" in json.loads(line)["trace"]
