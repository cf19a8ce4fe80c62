"""From how many titles on an approximate index finds the nearest ones faster than comparing all: exact against hnswlib.

    python benchmarks/title_index.py [MODEL] [--titles 5000,17500,30000,100000] [--output FILE.json]

MODEL is the folder of a stored version, whose titles' vectors are taken; for more titles than it has, others are drawn
near them. Without it vectors are invented. A list holds the ten best titles outside a history of 100, which an index is
asked for 110 titles for; each index searches as widely as a recall of 0.99 of the exact ten takes. Times are those of
one thread of the processor.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import hnswlib
import numpy as np
from parts.measuring import measure_in_turn
from parts.reporting import build_table
from rich.console import Console
from threadpoolctl import threadpool_limits

from recsys.features.item_side import normalise_rows
from recsys.retrieval.base import read_state, select_top
from recsys.retrieval.standalone import FOLDER
from recsys.types import Floats, Positions

K, N_WATCHED, N_QUERIES = 10, 100, 200
LEAST_RECALL: Final = 0.99
WIDTHS: Final = (128, 256, 512, 1024, 2048, 4096)
N_FACTORS: Final = 128
NOISE: Final = 0.5
SECONDS: Final = 3.0


def draw_vectors(known: Floats | None, n: int, rng: np.random.Generator) -> Floats:
    """Take or draw so many unit vectors."""
    if known is None:
        # As in a decomposition, later directions hold less and less.
        return normalise_rows((rng.normal(size=(n, N_FACTORS)) / np.arange(1, N_FACTORS + 1) ** 0.5).astype(np.float32))
    if n <= len(known):
        return known[rng.choice(len(known), n, replace=False)]
    more = known[rng.integers(0, len(known), n - len(known))]
    noise = normalise_rows(rng.normal(size=more.shape).astype(np.float32))
    return np.vstack([known, normalise_rows(more + NOISE * noise)])


def draw_users(vectors: Floats, rng: np.random.Generator) -> tuple[Floats, Positions]:
    """Draw users near titles, `(n, n_factors)`, and what they watched: half of the nearest, `(n, N_WATCHED)`."""
    favourites = vectors[rng.integers(0, len(vectors), (N_QUERIES, 5))]
    users = normalise_rows(favourites.mean(axis=1))
    watched = np.argpartition(-(users @ vectors.T), 2 * N_WATCHED, axis=1)[:, : 2 * N_WATCHED : 2]
    return users, watched


def measure(known: Floats | None, n: int) -> dict[str, Any]:
    """Compare both ways on so many titles."""
    rng = np.random.default_rng(n)
    vectors = np.ascontiguousarray(draw_vectors(known, n, rng))
    users, watched = draw_users(vectors, rng)
    start = time.process_time()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(n, M=24, ef_construction=200, random_seed=0)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=1)
    built = time.process_time() - start

    def compare_all(row: int) -> Positions:
        """Compare the user with every title."""
        allowed = np.ones((1, n), dtype=bool)
        allowed[0, watched[row]] = False
        return select_top(users[row : row + 1] @ vectors.T, allowed, K)[0]

    def ask_index(row: int) -> Positions:
        """Ask the index for the nearest titles."""
        found = index.knn_query(users[row : row + 1], K + N_WATCHED, num_threads=1)[0][0]
        return np.asarray(found[~np.isin(found, watched[row])][:K])

    expected = [set(compare_all(row).tolist()) for row in range(N_QUERIES)]
    recall, width = 0.0, 0
    for width in WIDTHS:
        index.set_ef(width)
        recall = float(np.mean([len(expected[row] & set(ask_index(row).tolist())) / K for row in range(N_QUERIES)]))
        if recall >= LEAST_RECALL:
            break
    ways: dict[str, list[Callable[[], object]]] = {
        "exact": [lambda row=row: compare_all(row) for row in range(N_QUERIES)],  # type: ignore[misc]
        "index": [lambda row=row: ask_index(row) for row in range(N_QUERIES)],  # type: ignore[misc]
    }
    timed = measure_in_turn(ways, seconds=SECONDS, clock=time.thread_time)
    return {
        "n_titles": n,
        "exact_p50_ms": timed["exact"].p50,
        "index_p50_ms": timed["index"].p50,
        "ef": width,
        "recall": recall,
        "build_cpu_seconds": built,
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="folder of a stored version")
    parser.add_argument("--titles", default="5000,17500,30000,100000", help="sizes of catalogs")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    options = parser.parse_args()
    known = None if options.model is None else read_state(options.model / FOLDER / "two_tower.npz")["vectors"]
    with threadpool_limits(1):
        rows = [measure(known, int(n)) for n in options.titles.split(",")]
    table = build_table(
        "Ten nearest titles outside a history of 100, p50 in ms of the processor",
        ["titles", "exact", "hnswlib", "ef", "recall of the exact ten", "index built, s"],
    )
    for row in rows:
        table.add_row(
            f"{row['n_titles']:,}",
            f"{row['exact_p50_ms']:.2f}",
            f"{row['index_p50_ms']:.2f}",
            str(row["ef"]),
            f"{row['recall']:.3f}",
            f"{row['build_cpu_seconds']:.1f}",
        )
    Console(width=120).print(table)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
