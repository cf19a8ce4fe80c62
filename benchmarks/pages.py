"""Latency and weight of the pages for fans, over HTTP, beside the same list as JSON.

    python benchmarks/pages.py [MODEL] [--seconds N] [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. Pages and JSON are
asked for in turn. The weight of a page is what a browser loads at its first visit, compressed as the service sends it.
Exits with 1 if the first page takes over 100 ms (median), a list over 300 ms (p95), or a page weighs over 200 KB.
"""

import http.client
import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from parts.measuring import measure_in_turn
from parts.models import parse_options, provide_model
from parts.reporting import build_table, spell
from parts.service import DEAD, run_service
from rich.console import Console

from recsys.columns import Columns, ItemColumns
from recsys.recommender import Recommender

HEADERS: Final = {"Accept": "text/html", "Accept-Encoding": "gzip"}
LOADED: Final = re.compile(rb'(?:src|href)="(/(?:assets|covers)/[^"]+)"')
N_VISITORS: Final = 100


@dataclass(frozen=True)
class Browser:
    """Asks as a browser does: compressed answers, each over a connection of its own."""

    port: int

    def load(self, path: str) -> bytes:
        """Load one address, as it comes over the wire."""
        return self._send("GET", path, HEADERS)

    def post(self, path: str, body: Any) -> bytes:
        """Send JSON."""
        return self._send("POST", path, HEADERS | {"Content-Type": "application/json"}, json.dumps(body).encode())

    def weigh(self, path: str) -> int:
        """Add up the bytes of a page and all it loads."""
        markup = self._send("GET", path, {"Accept": "text/html"})
        parts = sorted({match.decode() for match in LOADED.findall(markup)})
        return sum(len(self.load(part)) for part in [path, *parts])

    def _send(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:200]!r}")
        return content


def choose_favourites(folder: Path) -> list[list[int]]:
    """Choose three favourites for each visitor among the popular titles."""
    items = Recommender.load(folder).catalog.items.nlargest(500, ItemColumns.Members)[Columns.Item].to_numpy()
    rng = np.random.default_rng(0)
    return [rng.choice(items, 3, replace=False).tolist() for _ in range(N_VISITORS)]


def build_body(liked: list[int]) -> dict[str, Any]:
    """Ask for the list of a visitor as client programs do."""
    return {"ratings": dict.fromkeys(map(str, liked), 9), "explain": True}


def run(folder: Path, seconds: float) -> dict[str, Any]:
    """Measure latency and weight."""
    visitors = choose_favourites(folder)
    addresses = ["/?" + "&".join(f"f={item_id}" for item_id in liked) for liked in visitors]
    with (
        tempfile.TemporaryDirectory(prefix="otaku-bench-") as home,
        run_service(folder, DEAD, Path(home)) as service,
    ):
        browser = Browser(service.port)
        ways = {
            "first page": [partial(browser.load, "/")],
            "list": [partial(browser.load, address) for address in addresses],
            "the same list as JSON": [partial(browser.post, "/recommend/", build_body(liked)) for liked in visitors],
            "title": [partial(browser.load, f"/titles/{liked[0]}?f={liked[1]}") for liked in visitors],
        }
        latencies = measure_in_turn(ways, seconds=seconds, clock=time.perf_counter)
        weights = {"first page": browser.weigh("/"), "list": max(browser.weigh(path) for path in addresses[:10])}
    return {"latency_ms": {name: found.to_dict() for name, found in latencies.items()}, "bytes": weights}


def main() -> int:
    """Run, print and check."""
    options = parse_options(__doc__, seconds=60.0, seconds_help="of asking")
    with provide_model(options.model) as folder:
        results = run(folder, options.seconds)
    table = build_table("One visitor (ms)", ["page", "p50", "p95", "p99", "KB"])
    for name, latency in results["latency_ms"].items():
        weight = results["bytes"].get(name)
        table.add_row(name, *spell(latency), f"{weight / 1000:.0f}" if weight else "")
    Console(width=120).print(table)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))
    latency = results["latency_ms"]
    is_met = latency["first page"]["p50"] <= 100 and latency["list"]["p95"] <= 300
    return 0 if is_met and max(results["bytes"].values()) <= 200_000 else 1


if __name__ == "__main__":
    sys.exit(main())
