"""Weeks of the platform's life: users arrive every day, a challenger is trained and judged every Sunday."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

from recsys.connections import open_engine, open_store
from recsys.settings import Settings
from recsys.storage.ingestion import IngestReport
from simulate_new_users.arrivals import EPOCH
from simulate_new_users.job import ArrivalReport, add_new_users

WEEK = timedelta(days=7)


class Storyteller(Protocol):
    """Hears what happens; `otaku.demo.narrator` shows it on a terminal."""

    def ingested(self, report: IngestReport) -> None:
        """Hear that rows are in PostgreSQL and S3."""
        ...

    def arrived(self, week: int, reports: list[ArrivalReport]) -> None:
        """Hear of a week of days."""
        ...

    def drifted(self, reason: str | None) -> None:
        """Hear whether the model still fits the users; None while there is no model."""
        ...

    def retrained(self, report: dict[str, Any], seconds: float) -> None:
        """Hear of a challenger that was trained and judged."""
        ...

    def progress(self, stage: str, done: int, total: int) -> None:
        """Hear how far long work is."""
        ...


@dataclass
class Story:
    """What happened, JSON-ready."""

    ingest: dict[str, Any] = field(default_factory=dict)
    weeks: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    @contextmanager
    def timed(self, name: str) -> Iterator[Callable[[], float]]:
        """Measure the wall time of a block in seconds."""
        start = time.perf_counter()
        yield lambda: time.perf_counter() - start
        self.seconds[name] = round(time.perf_counter() - start, 2)


def ingest(settings: Settings, directory: Path, story: Story, teller: Storyteller) -> None:
    """Load the files, with the default share of users held back."""
    from recsys.storage.database import migrate
    from recsys.storage.ingestion import ingest_directory

    store = open_store(settings)
    store.ensure_bucket()
    with open_engine(settings) as engine, story.timed("ingest"):
        migrate(engine)
        report = ingest_directory(directory, engine, store, on_progress=teller.progress)
    story.ingest = report.to_dict()
    teller.ingested(report)


def live_a_week(settings: Settings, week: int, story: Story, teller: Storyteller) -> None:
    """Let seven days of users arrive, then retrain as of the last of them.

    Parameters
    ----------
    week
        Counted from 1; week 1 starts on the first day of the queue of arrivals.
    """
    from retrain_model.job import open_context, retrain

    monday = EPOCH + (week - 1) * WEEK
    sunday = monday + timedelta(days=6)
    with open_context(sunday, settings=settings, progress=teller.progress) as context:
        with story.timed(f"week {week}: arrivals"):
            days = [monday + timedelta(days=offset) for offset in range(7)]
            arrivals = [add_new_users(context.engine, day) for day in days]
        teller.arrived(week, arrivals)
        with story.timed(f"week {week}: retrain") as elapsed:
            report = retrain(context).to_dict()
            seconds = elapsed()
    story.weeks.append({"arrivals": [describe(arrival) for arrival in arrivals], **report})
    teller.retrained(report, seconds)


def describe(report: ArrivalReport) -> dict[str, Any]:
    """Return the numbers of a day, JSON-ready."""
    day: date = report.day
    return {
        "day": day.isoformat(),
        "n_users": report.n_users,
        "n_ratings": report.n_ratings,
        "n_generated": report.n_generated,
    }
