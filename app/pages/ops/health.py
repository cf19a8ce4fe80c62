"""One word of health: the worst of a few signals, each in words."""

import datetime as dt
from dataclasses import dataclass
from typing import Final, Literal

from app.pages.ops.figures import ServiceFigures
from recsys.storage.operations import Overview

Level = Literal["good", "warn", "bad"]

WORDS: Final[dict[Level, str]] = {"good": "Healthy", "warn": "Needs a look", "bad": "Degraded"}
LEVELS: Final[tuple[Level, ...]] = ("good", "warn", "bad")
# Arrivals come daily and retraining weekly; a day and a half of delay is none, twice the period is.
DATA_HOURS: Final = (36.0, 8 * 24.0)
MODEL_DAYS: Final = (8.0, 15.0)
# Of all requests; the error budget of 99.9 %, and ten times that.
ERROR_SHARES: Final = (0.001, 0.01)
MIN_REQUESTS: Final = 100
ALARMING: Final = frozenset({"guardrail_failed", "drifted", "no_better_than_popularity", "worse_ratings"})


@dataclass(frozen=True)
class Signal:
    """One thing that may be wrong, in a word and a sentence, and the part of the page that tells more."""

    name: str
    level: Level
    word: str
    sentence: str
    anchor: str


@dataclass(frozen=True)
class Health:
    """The worst of all signals."""

    level: Level
    signals: tuple[Signal, ...]

    @property
    def word(self) -> str:
        """The state in a word."""
        return WORDS[self.level]


def assess(overview: Overview, figures: ServiceFigures, problems: list[str], now: dt.datetime) -> Health:
    """Assess what the tables, the process and its parts say."""
    signals = (
        _assess_parts(problems),
        _assess_data(overview, now),
        _assess_model(overview, now),
        _assess_verdict(overview),
        _assess_errors(figures),
        _assess_drift(overview),
    )
    return Health(max((signal.level for signal in signals), key=LEVELS.index), signals)


def describe_age(seconds: float) -> str:
    """Tell an age in the largest unit that fits.

    >>> [describe_age(90), describe_age(7200), describe_age(200_000)]
    ['1 minute', '2 hours', '2 days']
    """
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        n = int(seconds // size)
        if n:
            return f"{n} {unit}{'s' if n > 1 else ''}"
    return "less than a minute"


def _rate(value: float, limits: tuple[float, float]) -> Level:
    return LEVELS[sum(value > limit for limit in limits)]


def _assess_parts(problems: list[str]) -> Signal:
    if problems:
        return Signal("Parts", "bad", "degraded", "; ".join(problems), "#service")
    return Signal("Parts", "good", "all answer", "Registry and database answer.", "#service")


def _assess_data(overview: Overview, now: dt.datetime) -> Signal:
    if not overview.arrivals:
        return Signal("Data", "warn", "none yet", "No users have arrived yet.", "#data")
    age = (now - overview.arrivals[-1].created_at).total_seconds()
    level = _rate(age / 3600, DATA_HOURS)
    word = "fresh" if level == "good" else "late"
    return Signal("Data", level, word, f"The last arrivals came {describe_age(age)} ago.", "#data")


def _assess_model(overview: Overview, now: dt.datetime) -> Signal:
    trained = [entry for entry in overview.decisions if entry.actor == "gate"]
    if not trained:
        return Signal("Training", "warn", "none yet", "No challenger was evaluated yet.", "#decisions")
    age = (now - trained[0].created_at).total_seconds()
    level = _rate(age / 86_400, MODEL_DAYS)
    word = "fresh" if level == "good" else "late"
    return Signal("Training", level, word, f"The last challenger was evaluated {describe_age(age)} ago.", "#decisions")


def _assess_verdict(overview: Overview) -> Signal:
    if not overview.decisions:
        return Signal("Last decision", "warn", "none yet", "The ledger is empty.", "#decisions")
    last = overview.decisions[0]
    outcome = str(last.evidence.get("outcome", ""))
    level: Level = "warn" if last.action == "rollback" or outcome in ALARMING else "good"
    words = {"promote": "promoted", "keep": "champion kept", "rollback": "rolled back"}
    sentence = f"Version {last.challenger_version}, by {last.actor}."
    return Signal("Last decision", level, words.get(last.action, last.action), sentence, "#decisions")


def _assess_errors(figures: ServiceFigures) -> Signal:
    sentence = f"{figures.n_errors:,} of {figures.n_requests:,} requests ended with 5xx."
    if figures.n_requests < MIN_REQUESTS:
        return Signal("Error budget", "good", "few requests", sentence, "#service")
    level = _rate(figures.error_share, ERROR_SHARES)
    word = {"good": "kept", "warn": "used up", "bad": "used up tenfold"}[level]
    return Signal("Error budget", level, word, sentence, "#service")


def _assess_drift(overview: Overview) -> Signal:
    if not overview.drift:
        return Signal("Drift", "good", "not measured", "No day was compared yet.", "#drift")
    last = overview.drift[0]
    word = "breached" if last.breached else "none"
    return Signal("Drift", "warn" if last.breached else "good", word, f"{last.day}: {last.reason}", "#drift")
