"""Title resolution: accuracy by kind of spelling, calibration of the confidence, and latency.

    python benchmarks/title_search.py [FOLDER] [--output FILE.json] [--plot FILE.png]

FOLDER holds a data set in a layout of `otaku ingest`; without one a sample world of 2,000 titles is generated, and
targets are not checked. Exits with 1 if a target is missed. Everything runs on one thread.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jellyfish
import numpy as np
from parts.measuring import measure_in_turn
from parts.reporting import Target, build_table
from parts.title_spellings import (
    Spelling,
    generate_hiragana,
    generate_joined,
    generate_macrons,
    generate_misspellings,
    generate_seasons,
    read_western_titles,
)
from rich.console import Console

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.sample_world import write_sample_world
from recsys.data.sources.reading import read_source
from recsys.data.titles import TitleIndex
from recsys.exceptions import UnknownTitleError

Results = dict[str, Any]
N_POPULAR = 3_000
N_TIMED = 300
SURE = 0.9
EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.925, 0.95, 0.975, 1.0)
MISSPELLED = ("insert", "drop", "swap", "phonetic")


def score_spellings(
    index: TitleIndex, spellings: Sequence[Spelling], *, adult: bool = False
) -> tuple[Results, list[tuple[float, bool]]]:
    """Resolve all spellings; return the shares, and confidence and correctness of each result."""
    answers: list[tuple[float, bool]] = []
    for spelling in spellings:
        try:
            found = index.resolve(spelling.text, adult=adult)
        except UnknownTitleError:
            continue
        answers.append((found.confidence, found.item_id in spelling.right))
    n = max(len(spellings), 1)
    sure = [right for confidence, right in answers if confidence >= SURE]
    shares = {
        "n": len(spellings),
        "right": sum(right for _, right in answers) / n,
        "wrong": sum(not right for _, right in answers) / n,
        "unknown": 1 - len(answers) / n,
        "wrong_and_sure": sum(not right for right in sure) / n,
        "right_where_sure": sum(sure) / max(len(sure), 1),
    }
    return shares, answers


def compute_curve(answers: Sequence[tuple[float, bool]]) -> list[Results]:
    """Compute the share of correct results by confidence."""
    confidence = np.array([value for value, _ in answers])
    right = np.array([is_right for _, is_right in answers])
    bins = np.digitize(confidence, EDGES[1:-1])
    return [
        {"from": EDGES[place], "to": EDGES[place + 1], "n": int(mask.sum()), "mean": float(confidence[mask].mean()),
         "right": float(right[mask].mean())}
        for place in range(len(EDGES) - 1)
        if (mask := bins == place).any()
    ]  # fmt: skip


def measure_build(catalog: Catalog) -> tuple[TitleIndex, Results]:
    """Build the index, and once more for its memory."""
    begin = time.process_time()
    index = TitleIndex.build(catalog)
    seconds = time.process_time() - begin
    gc.collect()
    tracemalloc.start()
    again = TitleIndex.build(catalog)
    memory = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    del again
    return index, {"seconds": seconds, "memory_mib": memory}


def measure_latency(index: TitleIndex, catalog: Catalog, typos: Sequence[Spelling], seconds: float) -> Results:
    """Time completions and misspellings, beside a plain Jaro-Winkler scan of all default titles, in turn."""
    titles = [str(title).casefold() for title in catalog.items[ItemColumns.Title]]
    rng = np.random.default_rng(0)
    prefixes = [titles[place][: int(rng.integers(1, 8))] for place in rng.choice(len(titles), N_TIMED)]
    texts = [typos[place].text for place in rng.choice(len(typos), N_TIMED)]
    ways: dict[str, list[Callable[[], Any]]] = {
        "autocomplete": [partial(index.search, text) for text in prefixes],
        "misspelling": [partial(resolve, index, text) for text in texts],
        "plain scan": [partial(scan, titles, text) for text in texts],
    }
    found = measure_in_turn(ways, seconds=seconds, clock=time.thread_time)
    scan_ms = found["plain scan"].p50
    return {way: latency.to_dict() | {"of_scan": latency.p50 / scan_ms} for way, latency in found.items()}


def resolve(index: TitleIndex, text: str) -> None:
    """Resolve a title; no match is a result too."""
    try:
        index.resolve(text)
    except UnknownTitleError:
        return


def scan(titles: Sequence[str], text: str) -> str:
    """Return the title of the highest Jaro-Winkler similarity; `titles` are in lower case."""
    folded = text.casefold()
    return max(titles, key=lambda title: jellyfish.jaro_winkler_similarity(folded, title))


def run(catalog: Catalog, seconds: float) -> Results:
    """Measure everything."""
    index, build = measure_build(catalog)
    items = catalog.items
    misspelled = generate_misspellings(items, N_POPULAR, np.random.default_rng(1))
    kinds = {
        "seasons": generate_seasons(items),
        "hiragana": generate_hiragana(items),
        "macrons": generate_macrons(items, N_POPULAR),
        "joined words": generate_joined(items, N_POPULAR),
        **misspelled,
    }
    # Titles for adults are among the seasons and the Japanese titles.
    scores = {
        kind: score_spellings(index, spellings, adult=kind not in MISSPELLED) for kind, spellings in kinds.items()
    }
    western = [Spelling(title, frozenset()) for title in read_western_titles()]
    answers = [answer for kind in MISSPELLED for answer in scores[kind][1]]
    return {
        "n_items": len(catalog),
        "build": build,
        "spellings": {kind: shares for kind, (shares, _) in scores.items()}
        | {"Western titles": score_spellings(index, western)[0]},
        "curve": compute_curve(answers),
        "sure_misspellings": float(np.mean([right for confidence, right in answers if confidence >= SURE])),
        "latency": measure_latency(index, catalog, misspelled["swap"], seconds),
    }


def check_targets(results: Results) -> list[Target]:
    """Compare the results with the targets."""
    spellings, latency = results["spellings"], results["latency"]
    shares = [
        ("seasons right", 0.97, spellings["seasons"]["right"]),
        ("hiragana right", 0.98, spellings["hiragana"]["right"]),
        ("macrons right", 0.99, spellings["macrons"]["right"]),
        ("joined words right", 0.95, spellings["joined words"]["right"]),
        ("Western titles unknown", 0.95, spellings["Western titles"]["unknown"]),
        ("misspellings right where the confidence is 0.9 or more", 0.95, results["sure_misspellings"]),
    ]
    limits = [
        ("seasons wrong with a confidence of 0.9 or more", 0.005, spellings["seasons"]["wrong_and_sure"]),
        ("autocomplete, ms", 3, latency["autocomplete"]["p50"]),
        ("misspelling, ms", 10, latency["misspelling"]["p50"]),
    ]
    return [Target(what, f">= {wanted}", found, found >= wanted) for what, wanted, found in shares] + [
        Target(what, f"<= {wanted}", found, found <= wanted) for what, wanted, found in limits
    ]


def show(results: Results, targets: Sequence[Target], console: Console) -> None:
    """Print everything as tables."""
    build = results["build"]
    console.print(f"{results['n_items']} items: built in {build['seconds']:.1f} s, {build['memory_mib']:.0f} MiB")
    table = build_table("Spellings", ["kind", "n", "right", "wrong", "unknown", "wrong, >= 0.9"])
    for kind, row in results["spellings"].items():
        shares = [f"{row[name]:.2%}" for name in ("right", "wrong", "unknown", "wrong_and_sure")]
        table.add_row(kind, str(row["n"]), *shares)
    console.print(table)
    table = build_table("Misspellings by confidence", ["confidence", "n", "mean", "right"])
    for row in results["curve"]:
        table.add_row(f"{row['from']} to {row['to']}", str(row["n"]), f"{row['mean']:.3f}", f"{row['right']:.2%}")
    console.print(table)
    table = build_table("Milliseconds of the processor", ["what", "p50", "p95", "p99", "of a plain scan"])
    for way, row in results["latency"].items():
        table.add_row(way, *(f"{row[name]:.2f}" for name in ("p50", "p95", "p99")), f"{row['of_scan']:.3f}")
    console.print(table)
    table = build_table("Targets", ["what", "wanted", "found", "met"])
    for target in targets:
        table.add_row(target.what, target.wanted, f"{target.found:.4g}", "yes" if target.is_met else "NO")
    console.print(table)


def plot_curve(curve: Sequence[Results], path: Path) -> None:
    """Plot the share of correct results over the confidence."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    axes.plot([0.5, 1], [0.5, 1], color="0.7", linestyle="--", label="as stated")
    axes.plot([row["mean"] for row in curve], [row["right"] for row in curve], marker="o", label="measured")
    axes.set(xlabel="confidence", ylabel="share of correct results", xlim=(0.5, 1), ylim=(0, 1.02))
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a data set; without one a sample world is generated")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long latencies are measured")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    parser.add_argument("--plot", type=Path, help="write the curve of the confidence as PNG")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as folder:
        if options.folder is None:
            write_sample_world(Path(folder) / "world", n_users=50, n_items=2_000, n_ratings=1_000, seed=1)
        catalog = Catalog(read_source(options.folder or Path(folder) / "world").items)
    results = run(catalog, options.seconds)
    targets = check_targets(results)
    results["targets"] = [asdict(target) for target in targets]
    show(results, targets, Console(width=120))
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))
    if options.plot:
        plot_curve(results["curve"], options.plot)
    return 0 if options.folder is None or all(target.is_met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
