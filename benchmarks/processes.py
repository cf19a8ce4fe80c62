"""Requests per second and memory of the service with one process and with several that share the model.

    python benchmarks/processes.py [MODEL] [--seconds N] [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. Known users, whose
ratings are read from PostgreSQL, are asked for; nothing is cached, and clients run in this process. Memory is counted
page by page, each shared one divided among those that share it (PSS), so that the sum is what the machine gives; a
further process costs the difference between two and three.

Exits with 1 if a request fails, or if a further process costs more than 60 MiB.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from parts.clients import build_request, run_clients
from parts.known_users import fill_database
from parts.models import parse_options, provide_model
from parts.reporting import build_table
from parts.service import run_service
from rich.console import Console

from otaku.platform import postgres
from otaku.platform.local import LocalPlatform
from recsys.columns import Columns, ItemColumns
from recsys.recommender import Recommender, UserProfile
from recsys.settings import Settings

N_USERS: Final = 400
CLIENTS: Final = (1, 8, 32, 128)
PROCESSES: Final = (1, 2, 3)
MOST_MIB: Final = 60.0
ROUNDS: Final = 3


def build_users(recommender: Recommender) -> dict[int, UserProfile]:
    """Build users with 10 to 300 ratings of popular titles."""
    popular = recommender.catalog.items.nlargest(3_000, ItemColumns.Members)[Columns.Item].to_numpy()
    rng = np.random.default_rng(0)
    users = {}
    for user_id in range(1, N_USERS + 1):
        n_ratings = min(int(10 * 30 ** rng.random()), len(popular) // 2)
        ratings = rng.integers(4, 11, n_ratings).astype(np.float32)
        users[user_id] = UserProfile(np.sort(rng.choice(popular, n_ratings, replace=False)), ratings)
    return users


def read_shared_memory(pid: int) -> float:
    """Return the memory of a process and those that it started, in MiB, shared pages counted once."""
    process = psutil.Process(pid)
    tree = [process, *process.children(recursive=True)]
    return sum(float(one.memory_full_info().pss) for one in tree) / (1 << 20)


def measure(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Ask services with one process and with several; of the rounds the one with the median rate counts."""
    recommender = Recommender.load(folder)
    users = build_users(recommender)
    requests = [build_request("/recommend/", {"user_input": user_id}) for user_id in users]
    rows: list[dict[str, Any]] = []
    # From defaults alone: a database that the environment names is not written to.
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as name:
        home = Path(name)
        given = Settings.model_construct(**defaults | {"home": home})
        with LocalPlatform(given, durable=False, parts=(postgres.PART,)) as platform:
            url = platform.settings().require_database_url()
            fill_database(url, recommender, users)
            for n_processes in PROCESSES:
                sys.stderr.write(f"{n_processes} processes\n")
                with run_service(folder, url, home, n_workers=n_processes) as service:
                    loaded = read_shared_memory(service.pid)
                    run_clients(service.port, requests, n_clients=8, seconds=seconds / 2)
                    for n_clients in CLIENTS:
                        found = [
                            run_clients(service.port, requests, n_clients=n_clients, seconds=seconds / ROUNDS)
                            for _ in range(ROUNDS)
                        ]
                        load = sorted(found, key=lambda one: one.per_second)[ROUNDS // 2]
                        failed = sum(one.n_failed for one in found)
                        rows.append({"processes": n_processes, **asdict(load), "n_failed": failed})
                    used = read_shared_memory(service.pid)
                rows.append({"processes": n_processes, "mib_loaded": loaded, "mib_used": used})
    return rows


def main() -> int:
    """Run, print and check."""
    options = parse_options(__doc__, seconds=12.0, seconds_help="of asking, per number of clients")
    with provide_model(options.model) as folder:
        rows = measure(folder, options.seconds)
    table = build_table("POST /recommend/, known users", ["processes", "clients", "per second", "p50", "p95", "failed"])
    for row in rows:
        if "n_clients" in row:
            latency = (f"{row['latency'][name]:.1f}" for name in ("p50", "p95"))
            names = (str(row["processes"]), str(row["n_clients"]), f"{row['per_second']:.1f}")
            table.add_row(*names, *latency, str(row["n_failed"]))
    console = Console(width=120)
    console.print(table)
    memory = {row["processes"]: row for row in rows if "mib_loaded" in row}
    for n_processes, row in memory.items():
        console.print(
            f"{n_processes} processes: {row['mib_loaded']:.0f} MiB loaded, {row['mib_used']:.0f} MiB afterwards"
        )
    further = {name: memory[3][name] - memory[2][name] for name in ("mib_loaded", "mib_used")}
    console.print(
        f"a further process: {further['mib_loaded']:.0f} MiB loaded, {further['mib_used']:.0f} MiB afterwards"
    )
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1))
    n_failed = sum(row.get("n_failed", 0) for row in rows)
    return 0 if not n_failed and further["mib_loaded"] <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
