"""What the benchmark of the service found: as tables, and against what is to be reached."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

Results = dict[str, Any]
PERCENTILES = ["p50", "p95", "p99"]
PREPARED = "ours, titles encoded"


@dataclass(frozen=True)
class Target:
    """What is to be reached, and what was."""

    what: str
    wanted: str
    found: float
    is_met: bool


def check_targets(results: Results) -> list[Target]:
    """Compare the results with the targets; speeds are medians."""
    answers, http = results["answers"], results["http"]
    original = answers["existing user"]["original"]["p50"]
    over_http = http["existing user"][0]["latency"]["p50"]
    shape, default = results["forests"]
    ratios = [
        ("whole catalog, the original's shape, times LightGBM", 10, shape["times_faster"][PREPARED]),
        ("whole catalog, default model, times LightGBM", 20, default["times_faster"][PREPARED]),
        ("existing user over HTTP, times the original in process", 50, original / over_http),
    ]
    limits = [
        ("similar title, ms", 3, answers["similar title"]["ours"]["p50"]),
        ("autocomplete, ms", 3, answers["autocomplete"]["ours"]["p50"]),
        ("title with a typo, ms", 10, answers["title with a typo"]["ours"]["p50"]),
        ("largest difference to LightGBM", 0, max(forest["largest_difference"] for forest in results["forests"])),
    ]
    return [Target(what, f">= {wanted}", found, found >= wanted) for what, wanted, found in ratios] + [
        Target(what, f"<= {wanted}", found, found <= wanted) for what, wanted, found in limits
    ]


def show(results: Results, targets: list[Target], console: Console) -> None:
    """Print everything as tables."""
    forests = build_table(
        "One user, the whole catalog, one thread (ms of the processor)", ["model", "way", *PERCENTILES, "times"]
    )
    for forest in results["forests"]:
        shape = f"{forest['what']}: {forest['n_trees']} trees, {forest['n_rows']} titles"
        for way, latency in forest["ways"].items():
            forests.add_row(shape, way, *spell(latency), f"{forest['times_faster'][way]:.1f}")
    console.print(forests)
    answers = build_table("In process (ms)", ["request", "way", *PERCENTILES])
    for name, ways in results["answers"].items():
        for way, latency in ways.items():
            answers.add_row(name, way, *spell(latency))
    console.print(answers)
    http = build_table("Over HTTP, one worker (ms)", ["request", "clients", *PERCENTILES, "per second", "failed"])
    for name, loads in results["http"].items():
        for load in loads if isinstance(loads, list) else []:
            numbers = [f"{load['per_second']:.0f}", str(load["n_failed"])]
            http.add_row(name, str(load["n_clients"]), *spell(load["latency"]), *numbers)
    console.print(http)
    console.print(
        f"ready after {results['http']['seconds_to_ready']:.1f} s with {results['http']['memory_mib']:.0f} MiB; "
        f"the original's tables and forest alone take {results['original_memory_mib']:.0f} MiB"
    )
    goals = build_table("Targets", ["what", "wanted", "found", "met"])
    for target in targets:
        goals.add_row(target.what, target.wanted, f"{target.found:.3g}", "yes" if target.is_met else "NO")
    console.print(goals)


def build_table(title: str, headings: list[str]) -> Table:
    """Start a table."""
    table = Table(*headings, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def spell(latency: Results) -> list[str]:
    """Spell the percentiles of a latency."""
    return [f"{latency[name]:.2f}" for name in PERCENTILES]
