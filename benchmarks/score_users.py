"""Lists of many users by `otaku score`: rate, peak of memory per worker, and equality with the service.

    python benchmarks/score_users.py [MODEL] [--data DIR] [--users N] [--workers N] [--compared N] [--store]
        [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. DIR holds a data set
that `otaku ingest` reads; without it that world is taken. Users have the ratings of one of its users, of which a tenth
is left out at random. They lie in a PostgreSQL of the benchmark's own, the model in its MLflow. With `--store` the
lists are stored there too, and the same users are asked for again of a service that answers them.

Exits with 1 if a user has another list than the service answers.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from parts.known_users import fill_database
from parts.measuring import read_peak
from parts.models import provide_model
from parts.reporting import build_table
from parts.service import run_service
from rich.console import Console

from otaku.platform.local import LocalPlatform
from recsys.columns import Columns
from recsys.connections import open_registry
from recsys.data.sample_world import write_sample_world
from recsys.data.sources.reading import read_source
from recsys.distributed.cluster import open_cluster
from recsys.distributed.scoring import Scoring, score_users
from recsys.recommender import Recommender, UserProfile
from recsys.settings import Settings

K: Final = 10
BATCH: Final = 5_000  # users written at a time
KEPT: Final = 0.9


def read_histories(data: Path, recommender: Recommender) -> list[UserProfile]:
    """Read the ratings of each user of a data set, of titles that the model knows."""
    table = read_source(data).ratings
    table = table[recommender.catalog.contains(table[Columns.Item].to_numpy())].sort_values(Columns.Item)
    return [
        UserProfile(rated[Columns.Item].to_numpy(), rated[Columns.Rating].to_numpy(np.float32))
        for _, rated in table.groupby(Columns.User)
    ]


def draw_users(
    histories: list[UserProfile], n_users: int, rng: np.random.Generator
) -> Iterator[dict[int, UserProfile]]:
    """Draw users in batches, by id."""
    for start in range(1, n_users + 1, BATCH):
        batch = {}
        for user_id in range(start, min(start + BATCH, n_users + 1)):
            drawn = histories[rng.integers(len(histories))]
            is_kept = rng.random(len(drawn.item_ids)) < KEPT
            batch[user_id] = UserProfile(drawn.item_ids[is_kept], drawn.ratings[is_kept])
        yield batch


def ask(port: int, user_ids: list[int]) -> tuple[list[list[int]], float]:
    """Ask the service for the lists of some users, one after the other; return them and the median milliseconds."""
    lists, times = [], []
    for user_id in user_ids:
        start = time.perf_counter()
        lists.append(_ask(port, user_id))
        times.append(1000 * (time.perf_counter() - start))
    return lists, float(np.median(times))


def _ask(port: int, user_id: int) -> list[int]:
    body = json.dumps({"user_input": user_id, "k": K}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/recommend/", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - of this machine
        return [entry["item_id"] for entry in json.load(response)["recommendations"]]


def measure(folder: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Score all users, then ask for some of them."""
    recommender, rng = Recommender.load(folder), np.random.default_rng(0)
    # From defaults alone: services that the environment names are not written to.
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as name:
        home = Path(name)
        with LocalPlatform(Settings.model_construct(**defaults | {"home": home}), durable=False) as platform:
            settings = platform.settings()
            started, n_ratings = time.perf_counter(), 0
            for batch in draw_users(read_histories(data, recommender), options.users, rng):
                fill_database(settings.require_database_url(), recommender, batch)
                n_ratings += sum(len(user.item_ids) for user in batch.values())
            filled = time.perf_counter() - started
            registry = open_registry(settings)
            version = registry.register_model(registry.start_run("benchmark"), folder, "benchmark")
            scores = home / "scores"
            with open_cluster(None, n_workers=options.workers) as client:
                client.wait_for_workers(options.workers)
                idle = list(client.run(read_peak).values())
                report = score_users(client, Scoring(settings, str(scores), version, K, options.store))
                peaks = list(client.run(read_peak).values())
            lists = pd.read_parquet(scores).sort_values("rank").groupby(Columns.User)[Columns.Item].apply(list)
            compared = rng.choice(lists.index.to_numpy(), min(options.compared, len(lists)), replace=False).tolist()
            wanted, equal, times = [lists[user_id] for user_id in compared], [], []
            for stored in (False, True) if options.store else (False,):
                with run_service(folder, settings.require_database_url(), home, scored_lists=stored) as service:
                    answers, milliseconds = ask(service.port, compared)
                equal.append(sum(answer == one for answer, one in zip(answers, wanted, strict=True)))
                times.append(milliseconds)
            n_bytes = sum(path.stat().st_size for path in scores.iterdir())
    return {
        "users": report.n_users,
        "ratings": n_ratings,
        "rows": report.n_rows,
        "workers": options.workers,
        "partitions": len(report.partitions),
        "seconds": report.seconds,
        "users_per_second": report.n_users / report.seconds,
        "fill_seconds": filled,
        "idle_mib": idle,
        "peak_mib": peaks,
        "output_mib": n_bytes / (1 << 20),
        "compared": len(compared),
        "equal": min(equal),
        "p50_ms": times,
    }


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compared", type=int, default=200)
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    model = options.model and options.model.resolve()
    with provide_model(model) as folder, tempfile.TemporaryDirectory(prefix="otaku-bench-") as scratch:
        data = options.data or Path(scratch)
        if options.data is None:
            write_sample_world(data, n_users=1_500, n_items=14_353, n_ratings=150_000, seed=0)
        found = measure(folder, data, options)
    table = build_table("Lists of all users", ["users", "workers", "seconds", "users per second", "peak MiB each"])
    peaks = " ".join(f"{peak:.0f}" for peak in found["peak_mib"])
    rate, seconds = f"{found['users_per_second']:.0f}", f"{found['seconds']:.0f}"
    table.add_row(f"{found['users']:,}", str(found["workers"]), seconds, rate, peaks)
    console = Console(width=120)
    console.print(table)
    console.print(f"{found['equal']} of {found['compared']} users have the list that the service answers")
    asked = " computed, {:.1f} ms stored" if options.store else " computed"
    console.print(("Asked one after the other, p50: {:.1f} ms" + asked).format(*found["p50_ms"]))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1))
    return 0 if found["equal"] == found["compared"] else 1


if __name__ == "__main__":
    sys.exit(main())
