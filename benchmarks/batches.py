"""Lists per second of `POST /recommend/batch` beside single calls, and latency of a cached response.

    python benchmarks/batches.py [MODEL] [--seconds N] [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. One service with one
worker thread is asked in turn by one client for lists of new users with 50 ratings, all of whom are different.
Single calls also predict the ratings of watched titles, which a batch leaves out unless it is asked for them.

Exits with 1 if a batch makes fewer than four times the lists of single calls.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from parts.clients import Load, build_request, run_clients
from parts.measuring import read_memory
from parts.models import parse_options, provide_model
from parts.reporting import build_table, spell
from parts.service import DEAD, run_service
from rich.console import Console

from recsys.columns import Columns, ItemColumns
from recsys.recommender import Recommender

LEAST: Final = 4.0  # times the lists of single calls
SIZE: Final = 16
N_RATINGS: Final = 50
N_USERS: Final = 4_000
ROUNDS: Final = 3


def build_users(folder: Path) -> list[dict[str, Any]]:
    """Build the bodies of new users, each with some ratings of popular titles."""
    popular = Recommender.load(folder).catalog.items.nlargest(2_000, ItemColumns.Members)[Columns.Item].to_numpy()
    rng = np.random.default_rng(0)
    chosen = [rng.choice(popular, N_RATINGS, replace=False).tolist() for _ in range(N_USERS)]
    return [
        {"ratings": dict(zip(map(str, ids), rng.integers(4, 11, N_RATINGS).tolist(), strict=True))} for ids in chosen
    ]


def measure(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Ask in turn; of the rounds the one with the median rate counts."""
    users = build_users(folder)
    half = N_USERS // 2
    ways = {
        "single": (1, [build_request("/recommend/", body) for body in users[:half]]),
        f"batch of {SIZE}": (
            SIZE,
            [
                build_request("/recommend/batch", {"requests": users[start : start + SIZE]})
                for start in range(half, N_USERS, SIZE)
            ],
        ),
        "cached": (1, [build_request("/recommend/", users[0])]),
    }
    with (
        tempfile.TemporaryDirectory(prefix="otaku-bench-") as home,
        run_service(folder, DEAD, Path(home), is_pinned=True, cache_seconds=3600) as service,
    ):
        rounds: dict[str, list[Load]] = {name: [] for name in ways}
        for number in range(ROUNDS):
            for name, (_, requests) in ways.items():
                # Requests of another round would be found in the cache.
                own = requests[number::ROUNDS] or requests
                rounds[name].append(run_clients(service.port, own, n_clients=1, seconds=seconds / ROUNDS))
        memory = read_memory(service.pid)
    rows = []
    for name, (size, _) in ways.items():
        load = sorted(rounds[name], key=lambda found: found.per_second)[ROUNDS // 2]
        failed = sum(found.n_failed for found in rounds[name])
        lists = load.per_second * size
        rows.append({"way": name, "lists_per_second": lists, "failed": failed, **load.latency.to_dict()})
    return [*rows, {"way": "memory", "resident_mib": memory}]


def main() -> int:
    """Run, print and check."""
    options = parse_options(__doc__, seconds=15.0, seconds_help="of asking each way")
    with provide_model(options.model) as folder:
        *rows, memory = measure(folder, options.seconds)
    table = build_table(
        "One client, 50 ratings (ms a call)", ["way", "lists per second", "p50", "p95", "p99", "failed"]
    )
    for row in rows:
        table.add_row(row["way"], f"{row['lists_per_second']:.1f}", *spell(row), str(row["failed"]))
    console = Console(width=120)
    console.print(table)
    times = rows[1]["lists_per_second"] / rows[0]["lists_per_second"]
    console.print(f"a batch makes {times:.1f} times the lists; {memory['resident_mib']:.0f} MiB are resident")
    if options.output:
        options.output.write_text(json.dumps([*rows, memory], indent=1))
    return 0 if times >= LEAST and not any(row["failed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
