"""Latency and weight of the pages for fans, over HTTP, beside the same list as JSON.

    python benchmarks/pages.py [MODEL] [--seconds N] [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. Pages and JSON are
asked for in turn. The weight of a page is what a browser loads at its first visit, compressed as the service sends it.
Exits with 1 if the first page takes over 100 ms (median), a list over 300 ms (p95), or a page weighs over 200 KB.
"""

import argparse
import http.client
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from neighbours import DEAD, train_model
from parts.measuring import measure_in_turn
from parts.reporting import build_table, spell
from parts.service import run_service
from rich.console import Console

from recsys.columns import Columns, ItemColumns
from recsys.recommender import Recommender

HEADERS: Final = {"Accept": "text/html", "Accept-Encoding": "gzip"}
LOADED: Final = re.compile(rb'(?:src|href)="(/(?:assets|covers)/[^"]+)"')
N_VISITORS: Final = 100


@dataclass(frozen=True)
class Browser:
    """One connection that stays open."""

    port: int

    def get(self, path: str) -> bytes:
        """Load one address, as it comes over the wire."""
        return self._ask("GET", path)

    def post(self, path: str, body: Any) -> bytes:
        """Send JSON."""
        return self._ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {**HEADERS, **(headers or {})})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:200]!r}")
        return content

    def weigh(self, path: str) -> int:
        """Add up the bytes of a page and all it loads."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Accept": "text/html"})
        markup = connection.getresponse().read()
        connection.close()
        parts = sorted({match.decode() for match in LOADED.findall(markup)})
        return len(self.get(path)) + sum(len(self.get(part)) for part in parts)


def choose_favourites(folder: Path) -> list[list[int]]:
    """Choose three favourites for each visitor among the popular titles."""
    items = Recommender.load(folder).catalog.items.nlargest(500, ItemColumns.Members)[Columns.Item].to_numpy()
    rng = np.random.default_rng(0)
    return [rng.choice(items, 3, replace=False).tolist() for _ in range(N_VISITORS)]


def run(folder: Path, seconds: float) -> dict[str, Any]:
    """Measure latency and weight."""
    visitors = choose_favourites(folder)
    addresses = ["/?" + "&".join(f"f={item_id}" for item_id in liked) for liked in visitors]
    with (
        tempfile.TemporaryDirectory(prefix="otaku-bench-") as home,
        run_service(folder, DEAD, Path(home)) as service,
    ):
        browser = Browser(service.port)

        def ask(path: str) -> Callable[[], object]:
            return lambda: browser.get(path)

        def ask_json(liked: list[int]) -> Callable[[], object]:
            body = {"ratings": dict.fromkeys(map(str, liked), 9), "explain": True}
            return lambda: browser.post("/recommend/", body)

        ways: dict[str, list[Callable[[], object]]] = {
            "first page": [ask("/")],
            "list": [ask(address) for address in addresses],
            "the same list as JSON": [ask_json(liked) for liked in visitors],
            "title": [ask(f"/titles/{liked[0]}?f={liked[1]}") for liked in visitors],
        }
        latencies = measure_in_turn(ways, seconds=seconds, clock=time.perf_counter)
        weights = {"first page": browser.weigh("/"), "list": max(browser.weigh(path) for path in addresses[:10])}
    return {"latency_ms": {name: found.to_dict() for name, found in latencies.items()}, "bytes": weights}


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="folder of a stored version")
    parser.add_argument("--seconds", type=float, default=60.0, help="of asking")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as scratch:
        results = run(options.model or train_model(Path(scratch)), options.seconds)
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
