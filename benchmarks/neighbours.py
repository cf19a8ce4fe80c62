"""Latency of `POST /recommend/` beside busy neighbours and under a quota, with and without pinned native libraries.

    python benchmarks/neighbours.py [MODEL] [--seconds N] [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. Both services run at
the same time over the same model and are asked in turn, so that the weather of the machine hits them alike; while one
is asked the other sleeps. Neighbours are loops in Python, one on each processor. The quota needs root and cgroups;
where it cannot be set, it is left out with the reason.

Exits with 1 if p95 is over three times p50 beside neighbours or under the quota.
"""

import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from parts.clients import Load, build_request, run_clients
from parts.models import parse_options, provide_model
from parts.reporting import build_table, spell
from parts.service import DEAD, Running, run_service
from rich.console import Console

from recsys.columns import Columns, ItemColumns
from recsys.cpus import count_cpus
from recsys.recommender import Recommender

MOST: Final = 3.0  # times p50
QUOTA: Final = 0.5  # processors
ROUNDS: Final = 3
N_BODIES: Final = 200
CGROUP: Final = Path("/sys/fs/cgroup/cpu/otaku-benchmark")


@dataclass(frozen=True)
class Way:
    """A service, and how it was started."""

    name: str
    service: Running


def build_bodies(folder: Path, n_ratings: int) -> list[bytes]:
    """Build requests of new users, each with some ratings of popular titles."""
    items = Recommender.load(folder).catalog.items.nlargest(2_000, ItemColumns.Members)
    rng = np.random.default_rng(0)
    bodies = []
    for _ in range(N_BODIES):
        chosen = rng.choice(items[Columns.Item].to_numpy(), n_ratings, replace=False)
        ratings = {
            str(item_id): int(rating) for item_id, rating in zip(chosen, rng.integers(4, 11, n_ratings), strict=True)
        }
        bodies.append(build_request("/recommend/", {"ratings": ratings}))
    return bodies


def burn() -> None:
    """Keep one processor busy."""
    while True:
        sum(range(10_000))


@contextmanager
def run_neighbours(n: int) -> Iterator[None]:
    """Keep n processors busy until the block ends."""
    processes = [multiprocessing.Process(target=burn, daemon=True) for _ in range(n)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


@contextmanager
def limit_processors(pids: list[int], quota: float) -> Iterator[None]:
    """Let each of some processes have a share of one processor until the block ends; OSError where that cannot be."""
    folders = [CGROUP.with_name(f"{CGROUP.name}-{pid}") for pid in pids]
    try:
        for folder, pid in zip(folders, pids, strict=True):
            folder.mkdir()
            (folder / "cpu.cfs_quota_us").write_text(str(int(quota * 100_000)))
            (folder / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for folder, pid in zip(folders, pids, strict=True):
            if folder.exists():
                (folder.parent / "cgroup.procs").write_text(str(pid))
                folder.rmdir()


def measure_ways(ways: list[Way], bodies: list[bytes], seconds: float) -> dict[str, Load]:
    """Ask the services in turn, one client each; of the rounds the one with the median p50 counts."""
    rounds: dict[str, list[Load]] = {way.name: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            rounds[way.name].append(run_clients(way.service.port, bodies, n_clients=1, seconds=seconds / ROUNDS))
    return {name: sorted(loads, key=lambda load: load.latency.p50)[ROUNDS // 2] for name, loads in rounds.items()}


def run(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Measure every situation."""
    bodies = {n: build_bodies(folder, n) for n in (10, 50)}
    rows: list[dict[str, Any]] = []

    def measure(situation: str) -> None:
        """Measure all bodies in one situation."""
        sys.stderr.write(f"{situation}\n")
        for n_ratings, requests in bodies.items():
            for name, load in measure_ways(ways, requests, seconds).items():
                latency = load.latency.to_dict()
                rows.append(
                    {"situation": situation, "ratings": n_ratings, "way": name, "failed": load.n_failed, **latency}
                )

    with ExitStack() as stack:
        ways = []
        for name, is_pinned in (("pinned", True), ("as libraries choose", False)):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otaku-bench-")))
            ways.append(Way(name, stack.enter_context(run_service(folder, DEAD, home, is_pinned=is_pinned))))
        for way in ways:
            run_clients(way.service.port, bodies[10], n_clients=1, seconds=1)
        measure("quiet")
        with run_neighbours(count_cpus()):
            measure("a busy neighbour on each processor")
        try:
            with limit_processors([way.service.pid for way in ways], QUOTA):
                measure(f"a quota of {QUOTA} processors")
        except OSError as error:
            sys.stderr.write(f"no quota could be set: {error}\n")
    return rows


def main() -> int:
    """Run, print and check."""
    options = parse_options(__doc__, seconds=20.0, seconds_help="of asking, per situation, service and kind")
    with provide_model(options.model) as folder:
        rows = run(folder, options.seconds)
    table = build_table(
        "POST /recommend/, one client (ms)", ["situation", "ratings", "way", "p50", "p95", "p99", "failed"]
    )
    for row in rows:
        table.add_row(row["situation"], str(row["ratings"]), row["way"], *spell(row), str(row["failed"]))
    Console(width=120).print(table)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1))
    ours = [row for row in rows if row["way"] == "pinned"]
    return 0 if all(row["p95"] <= MOST * row["p50"] and not row["failed"] for row in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
