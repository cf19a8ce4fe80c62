"""How often the promotion gate errs, beside the bootstrap t-test of the original My Otaku Friend.

    python benchmarks/gate_calibration.py [--trials 2000] [--seed 2026] [--output FILE.json]

Both rules decide the same kinds of trials, drawn from per-user NDCG@10 of models trained on real ratings
(`research/2-gate-calibration/*.parquet`) and from a heavy-tailed law. Exits with 1 if a rate is out of its bounds.
"""

import argparse
import json
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from recsys.gate.calibration import (
    apply_bootstrap_test,
    apply_gate,
    binomial_interval,
    draw_heavy_tailed,
    measure_rates,
    run_chain,
)
from recsys.gate.gate import PromotionGate
from recsys.gate.intervals import Interval

RESULTS = Path(__file__).parents[1] / "research" / "2-gate-calibration"
SIZES = (200, 600, 2000)
MARGIN = PromotionGate().margin
LIFTS = (-MARGIN, 0.01, 0.02)
# Versions as retrainings make them; the promises of the gate are about these, at as many test users.
VERSIONS = {
    "EASE, 90 and 100 % of users": ("ease_90", "ease_90_other", "ease_100"),
    "ranker, seeds of the trees": ("ranker_seed_0", "ranker_seed_1", "ranker_seed_2"),
}
HALVES = {
    "ALS, two seeds": ("als_seed_0", "als_seed_1"),
    "EASE, two penalties": ("ease", "ease_other_penalty"),
    "EASE and item-kNN": ("ease", "item_knn"),
}
HEAVY = "heavy-tailed law"
# As the gate saw users before: shown beside, not bounded.
ONE_HIDING = ", one hiding"
FALSE_ALARMS = 0.05  # of the whole check
PROMISED_USERS, N_STEPS, STEP = 600, 20, -0.004
GATE, ORIGINAL, CHAIN, UNANCHORED = "gate", "original", "chain", "chain without anchor"


@dataclass(frozen=True)
class Source:
    """Results of models for the same users, `(n_users, n_models)`, each the mean over `n_lists` hidings."""

    results: npt.NDArray[np.float64]
    n_lists: int
    version: bool = False


def read_sources(rng: np.random.Generator) -> dict[str, Source]:
    """Return all sources by name; a model that was not collected is left out."""
    sources = {}
    for file, groups in (("version_results.parquet", VERSIONS), ("per_user_results.parquet", HALVES)):
        table = pd.read_parquet(RESULTS / file).astype(np.float64)
        for name, models in groups.items():
            for n_lists in (1, 5):
                columns = [f"ndcg_at_10.{model}.{n_lists}" for model in models]
                found = [column for column in columns if column in table]
                if len(found) > 1:
                    label = name if n_lists == 5 else f"{name}{ONE_HIDING}"
                    sources[label] = Source(table[found].to_numpy(), n_lists, groups is VERSIONS and n_lists == 5)
    return {**sources, HEAVY: Source(draw_heavy_tailed(5_000, rng), 1)}


def plan(sources: Mapping[str, Source], n_trials: int) -> Iterator[tuple[str, str, float, int, int]]:
    """Name all cells: rule, source, lift, users, trials; the original needs fewer trials to be told from 5 %."""
    for source in sources:
        for n_users in SIZES:
            yield GATE, source, 0.0, n_users, n_trials
            for lift in LIFTS:
                yield GATE, source, lift, n_users, max(n_trials // 2, 50)
            for lift in (0.0, -MARGIN):
                yield ORIGINAL, source, lift, n_users, max(n_trials // 10, 50)


def run(seed: int, n_trials: int) -> list[dict[str, Any]]:
    """Measure all cells; each has its own stream of random numbers, so that none depends on another."""
    sources = read_sources(np.random.default_rng(seed))
    rules = {GATE: apply_gate(PromotionGate()), ORIGINAL: apply_bootstrap_test()}
    rows = []
    for rule, name, lift, n_users, trials in track(
        list(plan(sources, n_trials)), "simulating", console=Console(stderr=True)
    ):
        stream = [seed, zlib.crc32(f"{rule}/{name}".encode()), int(1000 * lift) + 1000, n_users]
        source, rng = sources[name], np.random.default_rng(stream)
        rates = measure_rates(
            rules[rule],
            source.results,
            lift=lift,
            n_users=n_users,
            n_trials=trials,
            rng=rng,
            n_lists=source.n_lists,
        )
        rows.append({"rule": rule, "source": name, "version": source.version, **asdict(rates)})
    return rows


def run_chains(seed: int, n_chains: int) -> list[dict[str, Any]]:
    """Let chains of slightly worse challengers come, with and without an anchor; count those that stay within it."""
    rows = []
    for name, source in read_sources(np.random.default_rng(seed)).items():
        if not source.version or source.results.shape[1] < 3:
            continue
        for rule in (CHAIN, UNANCHORED):
            rng = np.random.default_rng([seed, zlib.crc32(f"{rule}/{name}".encode())])
            losses = [
                run_chain(
                    PromotionGate(),
                    source.results,
                    step=STEP,
                    n_steps=N_STEPS,
                    n_users=PROMISED_USERS,
                    rng=rng,
                    n_lists=source.n_lists,
                    anchored=rule == CHAIN,
                )
                for _ in range(n_chains)
            ]
            kept = binomial_interval(sum(loss >= -MARGIN for loss in losses), n_chains)
            rows.append({"rule": rule, "source": name, "kept": asdict(kept), "worst": min(losses)})
    return rows


def pool(rows: list[dict[str, Any]], rule: str, lift: float, key: str) -> tuple[float, int]:
    """Average a rate over all sources and sizes."""
    found = [row[key] for row in rows if row["rule"] == rule and row["lift"] == lift]
    n_trials = sum(rate["n"] for rate in found)
    return sum(rate["mean"] * rate["n"] for rate in found) / n_trials, n_trials


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one line per source and size."""
    table = Table("results of", "users", title="shares of trials, in %; true lift in brackets")
    columns = [
        ("different (0)", GATE, 0.0, "different"),
        ("original", ORIGINAL, 0.0, "different"),
        (f"promoted ({-MARGIN:.0%})", GATE, -MARGIN, "promoted"),
        ("original", ORIGINAL, -MARGIN, "promoted"),
        *((f"promoted ({lift:+.0%})", GATE, lift, "promoted") for lift in (0.0, *LIFTS[1:])),
    ]
    for heading, *_ in columns:
        table.add_column(heading, justify="right")
    cells = {(row["rule"], row["source"], row["lift"], row["n_users"]): row for row in rows}
    for source, n_users in sorted({(row["source"], row["n_users"]) for row in rows}):
        shares = [cells[rule, source, lift, n_users][key]["mean"] for _, rule, lift, key in columns]
        table.add_row(source, str(n_users), *(f"{100 * share:.1f}" for share in shares))
    console.print(table)


def widen(rate: Mapping[str, float], n_checks: int) -> Interval:
    """Widen the interval of a rate so that all of so many checks together raise a false alarm in 5 % (Bonferroni)."""
    return binomial_interval(round(rate["mean"] * rate["n"]), int(rate["n"]), level=1 - FALSE_ALARMS / n_checks)


def find_faults(rows: list[dict[str, Any]], chains: list[dict[str, Any]]) -> list[str]:
    """Name the cells of the gate whose rate lies out of bounds by more than chance explains."""
    checked = [row for row in rows if row["rule"] == GATE and not row["source"].endswith(ONE_HIDING)]
    kept = [row for row in chains if row["rule"] == CHAIN]
    n_checks, faults = len(checked) + len(kept), []
    for row in checked:
        where = f"{row['source']}, {row['n_users']} users, lift {row['lift']:+.0%}"
        different, promoted = widen(row["different"], n_checks), widen(row["promoted"], n_checks)
        if row["lift"] == 0 and (different.low > 0.065 or different.high < 0.035):
            faults.append(f"{where}: called different in {different.mean:.1%}")
        if row["lift"] <= -MARGIN and promoted.low > 0.05:
            faults.append(f"{where}: promoted in {promoted.mean:.1%}")
        least = {0.0: 0.8, 0.01: 0.9}.get(row["lift"])
        if row["version"] and row["n_users"] == PROMISED_USERS and least and promoted.high < least:
            faults.append(f"{where}: promoted in {promoted.mean:.1%} only")
    left = [row for row in kept if widen(row["kept"], n_checks).high < 0.95]
    return faults + [f"{row['source']}: {row['kept']['mean']:.1%} of the chains stay within the margin" for row in left]


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="trials per cell without a true difference")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--output", type=Path, help="write all rates as JSON")
    options = parser.parse_args()
    console, start = Console(width=150), time.perf_counter()
    rows, chains = run(options.seed, options.trials), run_chains(options.seed, max(options.trials // 5, 20))
    show(rows, console)
    for rule in (GATE, ORIGINAL):
        different, n_equal = pool(rows, rule, 0.0, "different")
        promoted, n_worse = pool(rows, rule, -MARGIN, "promoted")
        console.print(
            f"{rule}: equal models called different in {different:.2%} of {n_equal} trials; "
            f"models worse by the margin promoted in {promoted:.2%} of {n_worse}"
        )
    for row in chains:
        console.print(
            f"{row['rule']}, {row['source']}: {row['kept']['mean']:.1%} of {row['kept']['n']} chains of {N_STEPS} "
            f"challengers, each {-STEP:.1%} worse, end within the margin of the first; worst {row['worst']:+.2%}"
        )
    seconds = time.perf_counter() - start
    console.print(f"seed {options.seed}, {options.trials} trials per equal pair, {seconds:.0f} s")
    if options.output:
        stored = {"seed": options.seed, "trials": options.trials, "seconds": round(seconds)}
        stored |= {"rates": rows, "chains": chains}
        options.output.write_text(json.dumps(stored, indent=1))
    faults = find_faults(rows, chains)
    for fault in faults:
        console.print(f"out of bounds: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
