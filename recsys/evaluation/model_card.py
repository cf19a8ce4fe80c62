"""The card of a model: what it is for, what it learned from, how well it does for whom, and what it cannot do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsys.gate.decision import Decision
from recsys.gate.intervals import bootstrap_interval
from recsys.types import Mask

METRICS = {"ndcg_at_10": "NDCG@10", "recall_at_10": "Recall@10", "mae": "absolute rating error"}

_INTENDED_USE = """\
Recommends anime to a user from the ratings that the user gave, or from stated tastes where there are none yet, and
predicts the rating that the user would give. It is meant for choosing what to watch. It is not meant for evaluating
users or works, nor for prices, access or any other decision about a user."""

_PROTOCOL = """\
Every user belongs to training, validation or test for ever, by a hash of the id; no version was ever fitted on a test
user. Of each test user a fixed 80 % of the ratings is the history and 20 % are hidden; a hidden rating of 7 or more is
a hit. The whole catalog minus the history is ranked. Every number is a mean over users with its 95 % interval from
2,000 bootstrap samples of the users."""

_LIMITS = """\
- Ratings are what users chose to rate: what was never shown or never watched is not known to be disliked.
- Learnt from anonymous ratings alone: nothing is known of age or country, so that no slice by them can be reported.
- Slices with few users have wide intervals; read the interval, not the mean.
- A title that is newer than the snapshot is unknown to this version.
- The intervals speak of users like those of the snapshot; another population needs another test."""


@dataclass(frozen=True)
class CardFacts:
    """What the card says beyond the numbers of the test users.

    Parameters
    ----------
    name, version, run_key
        Which model it is.
    data, training
        Tables of facts by name, printed as they are.
    """

    name: str
    version: int
    run_key: str
    data: Mapping[str, object]
    training: Mapping[str, object]


def build_card(
    facts: CardFacts, table: pd.DataFrame, decision: Decision, *, subject: str, rng: np.random.Generator
) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    table
        One row per model and test user: `model`, `arrived`, `generated`, `n_history` and the metrics, NaN where
        undefined.
    subject
        The model in `table` that the card is about; the others stand beside it.
    """
    own = table[table["model"] == subject]
    others = [name for name in table["model"].unique() if name != subject]
    parts = [
        f"# {facts.name}, version {facts.version}",
        f"Made by the retraining {facts.run_key}.",
        "## Intended use",
        _INTENDED_USE,
        "## Data",
        build_table(("", ""), facts.data.items()),
        "## Training",
        build_table(("", ""), facts.training.items()),
        "## Protocol",
        _PROTOCOL,
        "## Metrics",
        _build_metrics([("**this model**", own), *((name, table[table["model"] == name]) for name in others)], rng),
        "## Metrics by slice",
        _build_metrics([(name, own[mask]) for name, mask in select_slices(own).items()], rng),
        "## Decision of the gate",
        *describe_decision(decision),
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def select_slices(table: pd.DataFrame) -> dict[str, Mask]:
    """Cut test users by the length of their history, and take new arrivals and, where told, generated users."""
    lengths = table["n_history"].to_numpy()
    slices = {
        "history of up to 20": lengths <= 20,
        "history of 21 to 100": (lengths > 20) & (lengths <= 100),
        "history of more than 100": lengths > 100,
        "new arrivals": table["arrived"].to_numpy(dtype=np.bool_),
    }
    if "generated" in table:
        slices["generated users"] = table["generated"].to_numpy(dtype=np.bool_)
    return slices


def _build_metrics(rows: Sequence[tuple[str, pd.DataFrame]], rng: np.random.Generator) -> str:
    cells = [(name, len(users), *(_estimate(users, metric, rng) for metric in METRICS)) for name, users in rows]
    return build_table(("", "users", *METRICS.values()), cells)


def _estimate(users: pd.DataFrame, metric: str, rng: np.random.Generator) -> str:
    if metric not in users or users[metric].isna().all():
        return "-"
    found = bootstrap_interval(users[metric].to_numpy(dtype=np.float64), rng=rng)
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"


def describe_decision(decision: Decision) -> Iterator[str]:
    """Describe a decision with every criterion, guardrail and rule of the gate, as Markdown paragraphs."""
    outcome = decision.outcome.value.replace("_", " ")
    yield f"**{decision.action.value}** ({outcome}), compared with {decision.reference}."
    checks = [(criterion.name, criterion.passed, criterion.sentence) for criterion in decision.criteria]
    checks += [(guardrail.name, guardrail.passed, guardrail.sentence) for guardrail in decision.guardrails]
    yield build_table(
        ("criterion or guardrail", "", "finding"),
        [(name.replace("_", " "), "passed" if passed else "**failed**", text) for name, passed, text in checks],
    )
    yield "Rules: " + ", ".join(f"{name} {value:g}" for name, value in sorted(decision.gate.items())) + "."


def build_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
