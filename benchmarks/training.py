"""What the steps of a retraining take as the data grow, beside the training table of the original.

    python benchmarks/training.py [--data DIR] [--factors 0.25,0.5,1] [--threads N] [--preset NAME]
        [--output FILE.json] [--plot FILE.svg]

DIR is a folder that `otaku ingest` reads. Without it, invented worlds have so many times the users and ratings of the
original (13,102 users, 14,353 titles, 2,435,913 ratings). Each step runs in a process of its own, see
`parts/training_steps.py`; texts have random vectors, since their encoding is measured apart. The original's way is its
table of 493 columns for every rating as pandas builds it, before a single tree is trained; it may address as much
memory as the machine has, and where it dies is said.

With more than one factor, exponents of growth are fitted to seconds of processors and to memory over ratings.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from parts.reporting import build_table
from rich.console import Console

from recsys.data.sample_world import write_sample_world
from recsys.data.sources.reading import read_source

N_USERS, N_ITEMS, N_RATINGS = 13_102, 14_353, 2_435_913
STEPS: Final = ("fit_retrieval", "train_ranker")
PARTS: Final = Path(__file__).parent / "parts"
GIB: Final = 1 << 30

Row = dict[str, Any]


def run_steps(data: Path, scratch: Path, options: argparse.Namespace) -> list[Row]:
    """Run both steps; return what each took."""
    rows = []
    for step in STEPS:
        sys.stderr.write(f"  {step} ...\n")
        command = [sys.executable, str(PARTS / "training_steps.py"), step, str(data), str(scratch)]
        command += ["--threads", str(options.threads), "--preset", options.preset]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append({"stage": step, **json.loads(done.stdout.splitlines()[-1])})
    return rows


def run_original(data: Path, threads: int) -> tuple[list[Row], str]:
    """Build the original's table; return what each stage took, and why it ended early, if it did."""
    sys.stderr.write("  the original's table ...\n")
    limit = psutil.virtual_memory().available / GIB
    command = [sys.executable, str(PARTS / "original_table.py"), str(data)]
    command += ["--threads", str(threads), "--limit-gib", f"{limit:.1f}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    if not done.returncode:
        return rows, ""
    reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"code {done.returncode}")
    return rows, f"after {rows[-1]['stage'] if rows else 'reading'}, with {limit:.1f} GiB: {reason}"


def measure(data: Path, options: argparse.Namespace) -> Row:
    """Measure one world."""
    n_ratings = len(read_source(data).ratings)
    sys.stderr.write(f"{n_ratings:,} ratings\n")
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as scratch:
        steps = run_steps(data, Path(scratch), options)
    original, died = run_original(data, options.threads)
    return {"n_ratings": n_ratings, "steps": steps, "original": original, "original_died": died}


def measure_worlds(options: argparse.Namespace) -> list[Row]:
    """Measure the given data, or invented worlds of growing size."""
    if options.data is not None:
        return [measure(options.data, options)]
    worlds = []
    for factor in sorted(float(part) for part in options.factors.split(",")):
        with tempfile.TemporaryDirectory(prefix="otaku-bench-") as name:
            world = Path(name) / "world"
            sizes = {"n_users": int(N_USERS * factor), "n_items": N_ITEMS, "n_ratings": int(N_RATINGS * factor)}
            write_sample_world(world, **sizes, seed=1)
            worlds.append({"factor": factor, **measure(world, options)})
        if options.output:  # what is known is kept if a larger world does not come to its end
            options.output.write_text(json.dumps(worlds, indent=1) + "\n")
    return worlds


def fit_exponents(worlds: list[Row]) -> Row:
    """Fit the exponents of growth over the number of ratings, by step."""
    sizes = np.log([world["n_ratings"] for world in worlds])
    found: Row = {}
    for place, step in enumerate(STEPS):
        for name in ("cpu_seconds", "peak_mib"):
            values = np.log([world["steps"][place][name] for world in worlds])
            found[f"{step}.{name}"] = float(np.polyfit(sizes, values, 1)[0])
    return found


def draw(worlds: list[Row], path: Path) -> None:
    """Plot seconds of processors and memory of each step over ratings."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    sizes = [world["n_ratings"] for world in worlds]
    for axes, name, label in zip(
        figure.subplots(1, 2), ("cpu_seconds", "peak_mib"), ("seconds of processors", "peak memory, MiB"), strict=True
    ):
        for place, step in enumerate(STEPS):
            axes.plot(sizes, [world["steps"][place][name] for world in worlds], marker="o", label=step)
        known = [world for world in worlds if world["original"]]
        of_original = [
            (sum if name == "cpu_seconds" else max)(row[name] for row in world["original"]) for world in known
        ]
        axes.plot(
            [world["n_ratings"] for world in known], of_original, "x--", color="grey", label="the original's table"
        )
        axes.set(xscale="log", yscale="log", xlabel="ratings", ylabel=label)
    axes.legend(frameon=False)
    figure.savefig(path)


def show(worlds: list[Row], console: Console) -> None:
    """Print everything."""
    table = build_table("Retraining", ["ratings", "stage", "seconds", "seconds of processors", "peak MiB"])
    for world in worlds:
        for row in [*world["steps"], *({**row, "stage": f"original: {row['stage']}"} for row in world["original"])]:
            numbers = (f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}", f"{row['peak_mib']:.0f}")
            table.add_row(f"{world['n_ratings']:,}", row["stage"], *numbers)
    console.print(table)
    for world in worlds:
        if world["original_died"]:
            console.print(f"{world['n_ratings']:,} ratings, the original's table died {world['original_died']}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--factors", default="0.25,0.5,1", help="sizes of invented worlds, times the original's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    parser.add_argument("--plot", type=Path, help="draw growth with the ratings")
    options = parser.parse_args()
    worlds = measure_worlds(options)
    console = Console(width=110)
    show(worlds, console)
    if len(worlds) > 1:
        for name, exponent in fit_exponents(worlds).items():
            console.print(f"{name} grows with ratings^{exponent:.2f}")
        if options.plot:
            draw(worlds, options.plot)
    if options.output:
        options.output.write_text(json.dumps(worlds, indent=1) + "\n")


if __name__ == "__main__":
    main()
