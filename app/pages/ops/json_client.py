"""JSON over HTTP, for the tools that `/ops` asks: Airflow and Prometheus."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from recsys.exceptions import ServiceUnavailableError

SECONDS: Final = 3.0


def send_json(
    url: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str | None = None,
) -> Any:
    """Send a request, POST where there is a body and no other method is named, and return what the answer holds.

    Raises
    ------
    ServiceUnavailableError
        If nobody answers within `SECONDS`, or with anything but JSON and success.
    """
    data = None if body is None else json.dumps(body).encode()
    named = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, named, method=method)  # noqa: S310 - an address of the settings
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - as above
            return json.load(response)
    except (OSError, ValueError) as error:
        raise ServiceUnavailableError(f"{url.partition('?')[0]} does not answer: {error}") from error
