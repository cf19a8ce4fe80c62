"""What an approximate index of title vectors costs in exactness and saves in time.

    python benchmarks/vector_index.py [MODEL] [--copies 1,8] [--output FILE.json]

MODEL is the folder of a stored version; without it a small one is trained on an invented world. Titles are queries for
their ten neighbours by cosine, as `GET /items/{id}/similar` compares the learned vectors: exactly, by one product with
all vectors, and by an HNSW graph (Malkov & Yashunin, TPAMI 2020; `hnswlib`) at several widths of its search. With
copies the catalog is so many times as large: each copy of a vector is moved by a tenth of its length. One thread.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import hnswlib
import numpy as np
from parts.models import provide_model
from parts.reporting import build_table
from rich.console import Console
from threadpoolctl import threadpool_limits

from recsys.features.item_side import normalise_rows
from recsys.recommender import Recommender
from recsys.types import Floats

K: Final = 10
N_QUERIES: Final = 500
WIDTHS: Final = (10, 20, 50, 100, 200, 400)
LINKS: Final = 16
CONSTRUCTION: Final = 200


def enlarge(vectors: Floats, copies: int, rng: np.random.Generator) -> Floats:
    """Copy vectors, each moved by a tenth of its length in a random direction, `(copies * n_titles, n_factors)`."""
    parts = [vectors]
    for _ in range(copies - 1):
        moves = normalise_rows(rng.normal(size=vectors.shape).astype(np.float32))
        parts.append(vectors + 0.1 * np.linalg.norm(vectors, axis=1, keepdims=True) * moves)
    return normalise_rows(np.concatenate(parts).astype(np.float32))


def find_exactly(units: Floats, query: Floats) -> Any:
    """Return the positions of the best by one product with all vectors."""
    scores = units @ query
    top = np.argpartition(-scores, K)[:K]
    return top[np.argsort(-scores[top])]


def measure(units: Floats, rng: np.random.Generator) -> dict[str, Any]:
    """Measure one catalog."""
    queries = units[rng.choice(len(units), size=min(N_QUERIES, len(units)), replace=False)]
    started = time.thread_time()
    exact = [find_exactly(units, query) for query in queries]
    exact_ms = 1000 * (time.thread_time() - started) / len(queries)
    index = hnswlib.Index(space="ip", dim=units.shape[1])
    index.init_index(len(units), M=LINKS, ef_construction=CONSTRUCTION, random_seed=0)
    started = time.thread_time()
    index.add_items(units, num_threads=1)
    built = time.thread_time() - started
    rows = []
    for width in WIDTHS:
        index.set_ef(width)
        started = time.thread_time()
        found = [index.knn_query(query, k=K, num_threads=1)[0][0] for query in queries]
        milliseconds = 1000 * (time.thread_time() - started) / len(queries)
        recall = float(np.mean([len(set(one) & set(other)) / K for one, other in zip(found, exact, strict=True)]))
        rows.append({"width": width, "recall": recall, "ms": milliseconds})
    return {
        "titles": len(units),
        "factors": units.shape[1],
        "exact_ms": exact_ms,
        "build_seconds": built,
        "index_mib": index.index_file_size() / 2**20,
        "widths": rows,
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--copies", type=lambda text: list(map(int, text.split(","))), default=[1, 8])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with provide_model(options.model) as folder:
        vectors = Recommender.load(folder).retriever.first_stage.item_vectors
    known = np.asarray(vectors[np.linalg.norm(vectors, axis=1) > 0])
    with threadpool_limits(1):
        results = [measure(enlarge(known, copies, rng), rng) for copies in options.copies]
    console = Console(width=120)
    for found in results:
        title = f"{found['titles']:,} titles, {found['factors']} factors; exactly {found['exact_ms']:.2f} ms"
        table = build_table(title, ["width", "recall at 10", "ms"])
        for row in found["widths"]:
            table.add_row(str(row["width"]), f"{row['recall']:.3f}", f"{row['ms']:.3f}")
        console.print(table)
        console.print(f"built in {found['build_seconds']:.0f} s, {found['index_mib']:.0f} MiB")
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
