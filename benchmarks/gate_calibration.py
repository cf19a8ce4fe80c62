"""How often the promotion gate errs, beside the bootstrap t-test of the original My Otaku Friend.

    python benchmarks/gate_calibration.py [--trials 2000] [--seed 2026] [--output FILE.json]

Both rules decide the same kinds of trials, drawn from per-user NDCG@10 of models trained on real ratings
(`research/2-gate-calibration/per_user_results.parquet`) and from a heavy-tailed law. Exits with 1 if a rate is out of
its bounds.
"""

import argparse
import json
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from recsys.gate.calibration import apply_bootstrap_test, apply_gate, draw_heavy_tailed, measure_rates
from recsys.gate.gate import PromotionGate

RESULTS = Path(__file__).parents[1] / "research" / "2-gate-calibration" / "per_user_results.parquet"
SIZES = (200, 500, 1000, 2000, 5000)
LIFTS = (-0.02, -0.01, 0.02, 0.05, 0.1)
PAIRS = {
    "ALS, two seeds": ("als_seed_0", "als_seed_1"),
    "EASE, two penalties": ("ease", "ease_other_penalty"),
    "EASE and item-kNN": ("ease", "item_knn"),
}
HEAVY = "heavy-tailed law"
GATE, ORIGINAL = "gate", "original"


def read_pairs(rng: np.random.Generator) -> dict[str, npt.NDArray[np.float64]]:
    """Return the results of two models for the same users, by name, each `(n_users, 2)`."""
    table = pd.read_parquet(RESULTS).astype(np.float64)
    real = {name: table[[f"ndcg_at_10.{model}" for model in models]].to_numpy() for name, models in PAIRS.items()}
    return {**real, HEAVY: draw_heavy_tailed(5_000, rng)}


def plan(pairs: dict[str, npt.NDArray[np.float64]], n_trials: int) -> Iterator[tuple[str, str, float, int, int]]:
    """Name all cells: rule, source, lift, users, trials; the original differs from 5 % in fewer trials."""
    for source in pairs:
        for n_users in SIZES:
            yield GATE, source, 0.0, n_users, n_trials
            yield ORIGINAL, source, 0.0, n_users, max(n_trials // 10, 50)
            for lift in LIFTS:
                yield GATE, source, lift, n_users, max(n_trials // 5, 50)
            yield ORIGINAL, source, -PromotionGate().margin, n_users, max(n_trials // 10, 50)


def run(seed: int, n_trials: int) -> list[dict[str, Any]]:
    """Measure all cells; each has its own stream of random numbers, so that none depends on another."""
    pairs = read_pairs(np.random.default_rng(seed))
    rules = {GATE: apply_gate(PromotionGate()), ORIGINAL: apply_bootstrap_test()}
    cells = list(plan(pairs, n_trials))
    rows = []
    for rule, source, lift, n_users, trials in track(cells, "simulating", console=Console(stderr=True)):
        stream = [seed, zlib.crc32(f"{rule}/{source}".encode()), int(1000 * lift) + 1000, n_users]
        rates = measure_rates(
            rules[rule], pairs[source], lift=lift, n_users=n_users, n_trials=trials, rng=np.random.default_rng(stream)
        )
        rows.append({"rule": rule, "source": source, **asdict(rates)})
    return rows


def pool(rows: list[dict[str, Any]], rule: str, lift: float, key: str) -> tuple[float, int]:
    """Average a rate over all sources and sizes."""
    found = [row[key] for row in rows if row["rule"] == rule and row["lift"] == lift]
    n_trials = sum(rate["n"] for rate in found)
    return sum(rate["mean"] * rate["n"] for rate in found) / n_trials, n_trials


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one line per source and size."""
    margin = -PromotionGate().margin
    table = Table("results of", "users", title="shares of trials, in %; true lift in brackets")
    for heading in (
        "different (0)",
        "original",
        "promoted (-1 %)",
        "original",
        "promoted (0)",
        "(+2 %)",
        "(+5 %)",
        "(+10 %)",
    ):
        table.add_column(heading, justify="right")
    cells = {(row["rule"], row["source"], row["lift"], row["n_users"]): row for row in rows}
    for source, n_users in sorted({(row["source"], row["n_users"]) for row in rows}):
        wanted = [
            (GATE, 0.0, "different"),
            (ORIGINAL, 0.0, "different"),
            (GATE, margin, "promoted"),
            (ORIGINAL, margin, "promoted"),
            *((GATE, lift, "promoted") for lift in (0.0, 0.02, 0.05, 0.1)),
        ]
        shares = [cells[rule, source, lift, n_users][key]["mean"] for rule, lift, key in wanted]
        table.add_row(source, str(n_users), *(f"{100 * share:.1f}" for share in shares))
    console.print(table)


def find_faults(rows: list[dict[str, Any]]) -> list[str]:
    """Name the cells of the gate whose rate lies out of bounds by more than chance explains."""
    faults = []
    for row in rows:
        if row["rule"] != GATE:
            continue
        where = f"{row['source']}, {row['n_users']} users, lift {row['lift']:+.0%}"
        different, promoted = row["different"], row["promoted"]
        if row["lift"] == 0 and (different["low"] > 0.065 or different["high"] < 0.035):
            faults.append(f"{where}: called different in {different['mean']:.1%}")
        if row["lift"] <= -PromotionGate().margin and promoted["low"] > 0.05:
            faults.append(f"{where}: promoted in {promoted['mean']:.1%}")
    return faults


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="trials per cell without a true difference")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--output", type=Path, help="write all rates as JSON")
    options = parser.parse_args()
    console, start = Console(width=150), time.perf_counter()
    rows = run(options.seed, options.trials)
    show(rows, console)
    for rule in (GATE, ORIGINAL):
        different, n_equal = pool(rows, rule, 0.0, "different")
        promoted, n_worse = pool(rows, rule, -PromotionGate().margin, "promoted")
        console.print(
            f"{rule}: equal models called different in {different:.2%} of {n_equal} trials; "
            f"models worse by the margin promoted in {promoted:.2%} of {n_worse}"
        )
    seconds = time.perf_counter() - start
    console.print(f"seed {options.seed}, {options.trials} trials per equal pair, {seconds:.0f} s")
    if options.output:
        stored = {"seed": options.seed, "trials": options.trials, "seconds": round(seconds), "rates": rows}
        options.output.write_text(json.dumps(stored, indent=1))
    faults = find_faults(rows)
    for fault in faults:
        console.print(f"out of bounds: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
