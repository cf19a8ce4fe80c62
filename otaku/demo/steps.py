"""Weeks of the platform: users arrive every day, a challenger is trained and evaluated every Sunday."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

from recsys.connections import open_engine, open_store
from recsys.progress import OnProgress
from recsys.settings import Settings
from recsys.storage.ingest_report import IngestReport
from simulate_new_users.arrivals import EPOCH
from simulate_new_users.job import ArrivalReport, add_new_users

WEEK = timedelta(days=7)


class Output(Protocol):
    """Receives the result of each step; `otaku.demo.console_output` prints it."""

    def ingested(self, report: IngestReport) -> None:
        """Receive what was written to PostgreSQL and S3."""
        ...

    def arrived(self, week: int, reports: list[ArrivalReport]) -> None:
        """Receive the arrivals of a week."""
        ...

    def drifted(self, reason: str | None) -> None:
        """Receive the drift verdict; None while there is no model."""
        ...

    def retrained(self, report: dict[str, Any], seconds: float) -> None:
        """Receive evaluation and decision of a retraining."""
        ...

    def checked(self, *, ok: bool, found: str) -> None:
        """Receive whether registry and ledger agree, and what was found."""
        ...


@dataclass
class DemoReport:
    """Results of all steps and their wall time in seconds, JSON-ready."""

    ingest: dict[str, Any] = field(default_factory=dict)
    weeks: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    algorithms: list[dict[str, Any]] = field(default_factory=list)
    consistency: dict[str, Any] = field(default_factory=dict)
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


def ingest(settings: Settings, directory: Path, demo: DemoReport, output: Output, on_progress: OnProgress) -> None:
    """Load the files, with the default share of users held back."""
    from recsys.storage.ingestion import ingest_directory
    from recsys.storage.migration import migrate

    store = open_store(settings)
    store.ensure_bucket()
    with open_engine(settings) as engine, demo.timed("ingest"):
        migrate(engine)
        report = ingest_directory(directory, engine, store, first_day=EPOCH, on_progress=on_progress)
    demo.ingest = report.to_dict()
    output.ingested(report)


def run_week(settings: Settings, week: int, demo: DemoReport, output: Output, on_progress: OnProgress) -> None:
    """Let seven days of users arrive, then retrain as of the last of them.

    Parameters
    ----------
    week
        Counted from 1; week 1 starts on the first day of the queue of arrivals.
    """
    from retrain_model.job import open_context, retrain

    monday = EPOCH + (week - 1) * WEEK
    sunday = monday + timedelta(days=6)
    with open_context(sunday, settings=settings, progress=on_progress) as context:
        with demo.timed(f"week {week}: arrivals"):
            days = [monday + timedelta(days=offset) for offset in range(7)]
            arrivals = [add_new_users(context.engine, day) for day in days]
        output.arrived(week, arrivals)
        with demo.timed(f"week {week}: retrain") as elapsed:
            report = retrain(context).to_dict()
            seconds = elapsed()
    demo.weeks.append({"arrivals": [describe(arrival) for arrival in arrivals], **report})
    output.retrained(report, seconds)


def check_consistency(settings: Settings, demo: DemoReport, output: Output) -> None:
    """Compare what MLflow shows of every version with the ledger."""
    from otaku.platform.checkup import check_ledger

    with demo.timed("consistency"):
        check = check_ledger(settings)
    demo.consistency = {"ok": check.ok, "found": check.found}
    output.checked(ok=check.ok, found=check.found)


def describe(report: ArrivalReport) -> dict[str, Any]:
    """Return the numbers of a day, JSON-ready."""
    day: date = report.day
    return {
        "day": day.isoformat(),
        "n_users": report.n_users,
        "n_ratings": report.n_ratings,
        "n_generated": report.n_generated,
    }
