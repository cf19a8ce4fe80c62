"""Render what `compare.py` found: `python research/3-five-recommenders/render.py [RESULTS [FOLDER]]`.

Without arguments the results.json beside this file becomes the README.md beside this file. Every number of ours comes
from the results, every published one from `published.json`; why the two are no pair is said there.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ACCURACY: Final = {
    "ndcg_at_10": "NDCG@10",
    "recall_at_10": "Recall@10",
    "precision_at_10": "Precision@10",
    "hit_rate_at_10": "HitRate@10",
    "recall_at_100": "Recall@100",
}
BEYOND: Final = {
    "discovery_ndcg_at_10": "NDCG@10, discovery",
    "catalog_coverage": "coverage",
    "novelty": "novelty",
    "diversity": "diversity",
    "popularity_share": "share of popular titles",
}
COSTS: Final = {
    "fit_cpu_seconds": ("fit, s of the processor", 1.0, 1),
    "fit_added_bytes": ("fit raises the peak of the process by, MiB", 2.0**20, 0),
    "artifact_bytes": ("size, MB", 1e6, 1),
    "p50_ms": ("list, p50 ms", 1.0, 2),
    "p95_ms": ("list, p95 ms", 1.0, 2),
}
STARTS: Final = {"hit_rate_at_10": "HitRate@10", "ndcg_at_10": "NDCG@10", "recall_at_100": "Recall@100"}
Results = Mapping[str, Any]


def tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out in Markdown, the first column to the left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spell(found: Mapping[str, float] | None) -> str:
    """Write a mean with its interval."""
    return "-" if found is None else f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def spell_difference(found: Mapping[str, float] | None) -> str:
    """Write a paired difference with its interval and the lift."""
    if found is None:
        return "-"
    lift = "" if found["lift"] is None else f", {100 * found['lift']:+.1f} %"
    return f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}){lift}"


def render_metrics(models: Results, metrics: Mapping[str, str]) -> str:
    """Give each model a row and each metric a column."""
    known = [name for name in metrics if any(name in model["metrics"] for model in models.values())]
    rows = [[name, *(spell(model["metrics"].get(metric)) for metric in known)] for name, model in models.items()]
    return tabulate(["", *(metrics[name] for name in known)], rows)


def render_differences(results: Results, models: Results) -> str:
    """Pair each model with popularity."""
    reference = results["reference"]
    rows = [
        [name, spell_difference(model["differences"].get("ndcg_at_10"))]
        for name, model in models.items()
        if name != reference
    ]
    return tabulate(["", f"NDCG@10 minus that of {reference}"], rows)


def render_slices(models: Results) -> str:
    """Show NDCG@10 by length of the history."""
    slices = list(dict.fromkeys(name for model in models.values() for name in model["slices"]))
    rows = [
        [name, *(spell(model["slices"].get(one, {"metrics": {}})["metrics"].get("ndcg_at_10")) for one in slices)]
        for name, model in models.items()
    ]
    return tabulate(["", *slices], rows)


def render_cold(results: Results, models: Results) -> str:
    """Show NDCG@10 of the same users with shorter and shorter histories."""
    cold = results["cold"]
    corners = list(dict.fromkeys(corner for found in cold.values() for corner in found))
    rows = [[name, *(spell(cold[name].get(corner, {}).get("ndcg_at_10")) for corner in corners)] for name in models]
    return tabulate(["", *corners], rows)


def render_costs(models: Results) -> str:
    """Show what each model takes."""
    rows = []
    for name, model in models.items():
        cells = [
            f"{model['facts'][key] / unit:,.{digits}f}" if key in model["facts"] else "-"
            for key, (_, unit, digits) in COSTS.items()
        ]
        rows.append([name, *cells])
    return tabulate(["", *(title for title, _, _ in COSTS.values())], rows)


def render_published(models: Results, published: Sequence[Mapping[str, Any]]) -> str:
    """Set each number that a seed has published beside what its algorithm gives here."""
    rows = []
    for line in published:
        model = models.get(line["model"])
        ours = None if model is None else model["metrics"].get(line["ours"], model["facts"].get(line["ours"]))
        shown = ours["mean"] if isinstance(ours, Mapping) else ours
        value = "-" if shown is None else f"{shown / line.get('unit', 1.0):,.4g}"
        rows.append([line["seed"], line["claim"], line["published"], value, line["remark"]])
    return tabulate(["seed", "what", "published, not re-run", "here", "why they are no pair"], rows)


def render_claims(results: Results, models: Results) -> str:
    """Define and measure what FuseRank says of its hybrid."""
    if "hybrid" not in results or "user-user" not in results["hybrid"]:
        return "Not measured: `hybrid` or `user-user` is missing."
    rows = [
        [f"hybrid minus {name}", spell_difference(found["all"]["ndcg_at_10"])]
        for name, found in results["hybrid"].items()
    ]
    table = tabulate(["NDCG@10", "paired, user by user"], rows)
    facts, ours = models["user-user"]["facts"], models["hybrid"]["facts"]
    plain = facts["brute_force_p95_ms"]
    change, alone = (100 * (measured["p95_ms"] / plain - 1) for measured in (ours, facts))
    return f"""*+17 % relevance over KNN* is read as: NDCG@10 of `hybrid` on the test users, paired user by user with a
nearest-neighbour model alone, once of users and once of titles.

{table}

*p95 latency 30 % lower* is read as: the 95th percentile of the time for one list of ten in this process, against the
plain nearest-neighbour search that compares a user with all others (sparse, no index): {plain:.2f} ms.
`user-user` takes {facts["p95_ms"]:.2f} ms ({alone:+.0f} %), `hybrid` {ours["p95_ms"]:.2f} ms ({change:+.0f} %), which
does more than the search."""


def render_starts(results: Results) -> str:
    """Show both groups of held-out users, warm and cold, below what Sagasu has published of its own."""
    if "two-tower" not in results.get("starts", {}):
        return "Not measured: `two-tower` is missing."
    published = json.loads((HERE / "published_starts.json").read_text(encoding="utf-8"))
    parts = []
    for group in published:
        rows = [
            [f"Sagasu, {start} (published, not re-run)", "", *(str(found.get(metric, "-")) for metric in STARTS)]
            for start, found in published[group].items()
        ]
        rows += [
            [f"{name}, {start}", f"{one['n_users']:,}", *(spell(one[metric]) for metric in STARTS)]
            for name, groups in results["starts"].items()
            for start, one in groups[group].items()
            if name == "two-tower" or start in list(groups[group])[:2]  # others do not read the history
        ]
        parts.append(f"{group.capitalize()} users:\n\n{tabulate(['', 'users', *STARTS.values()], rows)}")
    return "\n\n".join(parts)


def render(results: Results, published: Sequence[Mapping[str, Any]], findings: str) -> str:
    """Write the page."""
    chosen = sorted(results["models"].items(), key=lambda entry: -entry[1]["metrics"]["ndcg_at_10"]["mean"])
    models, facts = dict(chosen), results["protocol"]
    return f"""# 3. Five recommenders

Each algorithm of the five systems that this platform learned from, fitted on {facts["n_training_users"]:,} users and
evaluated on {facts["n_test_users"]:,} others whom nothing was fitted or tuned on: {facts["n_ratings"]:,} ratings,
{facts["n_items"]:,} titles. The protocol is that of
[docs/evaluation.md](../../docs/evaluation.md): a fifth of each user's ratings is hidden, a hidden rating of 7 or more
is a hit, the whole catalog minus the history is ranked. In brackets 95 % bootstrap intervals over users. The
recommender of this platform, with EASE and ALS, is in
[1-recommendation-quality](../1-recommendation-quality/README.md). What each of the five systems claims, and where that
is here: [claims.md](claims.md).

{findings}
## Accuracy

{render_metrics(models, ACCURACY)}

Paired with popularity, user by user:

{render_differences(results, models)}

## Discovery, coverage and variety

{render_metrics(models, BEYOND)}

## For whom

NDCG@10 by the length of the history.

{render_slices(models)}

## Cold starts

NDCG@10 of the same users with less and less known of them.

{render_cold(results, models)}

## Warm and cold users of `two-tower`

Users are split 80/10/10 before training, as Sagasu's are. Its warm users have embeddings that were never trained, by
design a floor; here a warm user is folded in from the whole history, and one of whom nothing is known is shown what is
popular. A cold start is a pool of favourites through the tower of its own: 5, 3 or 1 titles of the history rated 7 or
more, of users with five such at least. How many Sagasu takes and how many it hides is not told; its catalog has 30,130
titles and its users are others, so that no two of the numbers are a pair.

{render_starts(results)}

## Time, memory and size

Each model in a process of its own on one thread. Lists are those of {facts["n_timed"]} test users, one after another,
in time of the processor, which a busy machine stretches less than the clock.

{render_costs(models)}

## What the seeds have published

No published number can be checked: the data, the users or the protocol are others, or are not told.

{render_published(models, published)}

## What FuseRank says of its hybrid

{render_claims(results, models)}

## Again

```
python research/3-five-recommenders/compare.py DIRECTORY WORK
python research/3-five-recommenders/render.py WORK/results.json
```
"""


def main() -> None:
    """Read the results and write the page beside them."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE
    results = json.loads(path.read_text(encoding="utf-8"))
    notes = folder / "findings.md"
    findings = notes.read_text(encoding="utf-8") + "\n" if notes.exists() else ""
    published = json.loads((HERE / "published.json").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(render(results, published, findings), encoding="utf-8")
    if folder == HERE and path != HERE / "results.json":
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
