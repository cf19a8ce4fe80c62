"""Render what `benchmarks/gate_calibration.py --output rates.json` measured: `python .../render.py`."""

import json
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
GATE, ORIGINAL = "gate", "original"
COLOURS = {
    "EASE, 90 and 100 % of users": "#a33c00",
    "EASE, 90 and 100 % of users, one hiding": "#d9b38c",
    "ranker, seeds of the trees": "#333333",
    "ranker, seeds of the trees, one hiding": "#999999",
    "ALS, two seeds": "#1f6f8b",
    "EASE, two penalties": "#7a1fa2",
    "EASE and item-kNN": "#d9822b",
    "heavy-tailed law": "#4f7942",
}
Row = dict[str, Any]


def select(rows: list[Row], rule: str, lift: float, source: str) -> list[Row]:
    """Return the cells of a curve by number of users."""
    found = [row for row in rows if (row["rule"], row["lift"], row["source"]) == (rule, lift, source)]
    return sorted(found, key=lambda row: int(row["n_users"]))


def draw_curves(axes: Axes, rows: list[Row], rule: str, lift: float, key: str, style: str) -> None:
    """Draw one line per source with binomial intervals."""
    for source, colour in COLOURS.items():
        if not select(rows, rule, lift, source):
            continue
        cells = select(rows, rule, lift, source)
        sizes = [row["n_users"] for row in cells]
        axes.plot(sizes, [100 * row[key]["mean"] for row in cells], style, color=colour, label=f"{rule}: {source}")
        low, high = ([100 * row[key][end] for row in cells] for end in ("low", "high"))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set(xscale="log", xlabel="test users", xticks=sizes, xticklabels=[str(size) for size in sizes])
    axes.minorticks_off()


def draw_errors(rows: list[Row]) -> Figure:
    """Show both kinds of error of both rules."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for rule, style in ((GATE, "o-"), (ORIGINAL, "x:")):
        draw_curves(left, rows, rule, 0.0, "different", style)
        draw_curves(right, rows, rule, -0.01, "promoted", style)
    left.axhspan(3.5, 6.5, color="#cccccc", alpha=0.5)
    right.axhline(5, color="#888888", linewidth=1)
    left.set_title("equal models called different, %", loc="left")
    right.set_title("models worse by the margin promoted, %", loc="left")
    left.legend(frameon=False, fontsize=6.5, ncols=2, loc=(0.08, 0.54))
    return figure


def draw_power(rows: list[Row]) -> Figure:
    """Show how often a truly better model is promoted."""
    lifts = sorted({row["lift"] for row in rows if row["rule"] == GATE})
    figure = Figure(figsize=(16, 3.6), layout="constrained")
    shown = [source for source in COLOURS if select(rows, GATE, 0.0, source)]
    for axes, source in zip(figure.subplots(1, len(shown), sharey=True), shown, strict=True):
        for n_users in sorted({row["n_users"] for row in rows}):
            cells = [
                next(row for row in select(rows, GATE, lift, source) if row["n_users"] == n_users) for lift in lifts
            ]
            shares = [100 * row["promoted"]["mean"] for row in cells]
            axes.plot([100 * lift for lift in lifts], shares, "o-", markersize=3, label=f"{n_users} users")
        axes.axvline(-1, color="#888888", linewidth=1, linestyle="--")
        axes.set_title(source, loc="left", fontsize=7)
        axes.set_xlabel("true lift, %")
    figure.axes[0].set_ylabel("promoted, %")
    figure.axes[0].legend(frameon=False, fontsize=7)
    return figure


def tabulate(rows: list[Row]) -> str:
    """Lay the central numbers out in Markdown."""
    head = [
        "results of",
        "users",
        "gate: different",
        "original: different",
        "gate: promotes -1 %",
        "original: promotes -1 %",
    ]
    head += ["gate: promotes 0", "+1 %", "+2 %"]
    lines = [" | ".join(["", *head, ""]).strip(), "|" + " --- |" * len(head)]
    wanted = [(GATE, 0.0, "different"), (ORIGINAL, 0.0, "different"), (GATE, -0.01, "promoted")]
    wanted += [(ORIGINAL, -0.01, "promoted"), *((GATE, lift, "promoted") for lift in (0.0, 0.01, 0.02))]
    for source in COLOURS:
        for place, cell in enumerate(select(rows, GATE, 0.0, source)):
            shares = [select(rows, rule, lift, source)[place][key]["mean"] for rule, lift, key in wanted]
            numbers = " | ".join(f"{100 * share:.1f}" for share in shares)
            lines.append(f"| {source} | {cell['n_users']:,} | {numbers} |")
    return "\n".join(lines)


def pool(rows: list[Row], rule: str, lift: float, key: str) -> str:
    """Average a rate over all sources and sizes."""
    found = [row[key] for row in rows if row["rule"] == rule and row["lift"] == lift]
    n_trials = sum(rate["n"] for rate in found)
    return f"{sum(rate['mean'] * rate['n'] for rate in found) / n_trials:.2%} of {n_trials:,}"


def write_page(stored: dict[str, Any]) -> str:
    """Tell the result in Markdown; every number comes from the run."""
    rows, n_trials = stored["rates"], stored["trials"]
    error = 196 * (0.05 * 0.95 / n_trials) ** 0.5
    pooled = {
        rule: (pool(rows, rule, 0.0, "different"), pool(rows, rule, -0.01, "promoted")) for rule in (GATE, ORIGINAL)
    }
    return f"""# 2. How often the gate errs

`make bench-gate` decides trials whose truth is known by construction (`recsys/gate/calibration.py`): results of models
for the same real users, exchanged at random so that no model is better, and then worsened or improved by an exact share
of the lists. The results are NDCG@10 (`collect_vectors.py`): of test users by versions as retrainings make them, of all
users by models that were fitted on the other half, and of a heavy-tailed law where most values are 0. A value is the
mean of five hidden fifths where "one hiding" does not say otherwise. Seed {stored["seed"]}; {n_trials:,} trials a cell
without a true difference (95 % binomial error of a rate of 5 %: about ±{error:.1f} points), half of that where there is
one, a tenth for the test of the original.

Pooled over all sources and sizes:

| | gate | original bootstrap t-test |
| --- | --- | --- |
| equal models called different (5 % wanted) | {pooled[GATE][0]} | {pooled[ORIGINAL][0]} |
| models worse by the margin promoted (5 % at most) | {pooled[GATE][1]} | {pooled[ORIGINAL][1]} |

![Both kinds of error](errors.svg)

The test of the original drew 100 bootstrap samples per model, independently of each other, and compared the two lists
of 100 statistics as if they were 100 users. It ignores that both models were evaluated on the same users, and takes the
number of draws for the size of the sample; here it is given the mean NDCG@10 instead of the median rating error.

## Chains

Twenty challengers come one after another, each truly 0.4 % worse than the champion of its time, on 600 test users:

{tabulate_chains(stored["chains"])}

## What the gate can see

![Power](power.svg)

With one hiding, versions that agree on most users and a loss that meets a few lists wholly, the t-test is too sure: a
ranker worse by the margin passes more often than it should on few users. Five hidings divide every loss among lists of
the same user, and the rate returns within its bound; the bounds of `make bench-gate` are those of five hidings.

Unlike models need many test users; versions of one model, which agree on most users, few. Where the interval is as wide
as the margin, an equal challenger is kept as "too uncertain to rule out a loss". The remedy is to see more of each user
or more users, or a margin that is set wider beforehand, never one that is widened after the fact.

## All cells, in % of trials

{tabulate(rows)}
"""


def tabulate_chains(chains: list[Row]) -> str:
    """Say how many chains end within the margin of their first champion."""
    lines = ["| versions | gate | chains | within the margin | worst |", "| --- | --- | --- | --- | --- |"]
    for row in chains:
        share, worst = f"{100 * row['kept']['mean']:.1f} %", f"{100 * row['worst']:+.2f} %"
        lines.append(f"| {row['source']} | {row['rule']} | {row['kept']['n']} | {share} | {worst} |")
    return "\n".join(lines)


if __name__ == "__main__":
    rcParams["svg.hashsalt"] = "gate"  # the same numbers give the same file
    measured = json.loads((HERE / "rates.json").read_text())
    draw_errors(measured["rates"]).savefig(HERE / "errors.svg", metadata={"Date": None})
    draw_power(measured["rates"]).savefig(HERE / "power.svg", metadata={"Date": None})
    (HERE / "README.md").write_text(write_page(measured), encoding="utf-8")
