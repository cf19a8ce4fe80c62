"""Progress of long work: who receives it, and log lines for output that is no terminal."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 30.0


class OnProgress(Protocol):
    """Receives how far long work is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` units of a stage."""
        ...


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Discard progress."""


@dataclass
class Stage:
    """A stage that has begun; times in seconds of the clock."""

    name: str
    done: int
    total: int
    started: float

    def describe(self, now: float) -> str:
        """Return share, rate and elapsed time, like `fit: 5 of 20 (25 %), 0.5/s, 10 s`."""
        elapsed = max(now - self.started, 0.0)
        if self.total == 1:
            return f"{self.name}: running, {elapsed:.0f} s"
        share = f"{self.done / self.total:.0%}".replace("%", " %") if self.total else "0 %"
        rate = f"{self.done / elapsed:,.3g}/s, " if elapsed and self.done else ""
        return f"{self.name}: {self.done:,} of {self.total:,} ({share}), {rate}{elapsed:.0f} s"

    def describe_end(self, now: float) -> str:
        """Return what was done in which time."""
        count = "" if self.total == 1 else f" {self.done:,} of {self.total:,}"
        return f"{self.name}: finished{count} in {max(now - self.started, 0.0):.0f} s"


@contextmanager
def track_stage(on_progress: OnProgress, stage: str) -> Iterator[None]:
    """Report start and end of a stage that is one unit of work; one that fails has no end."""
    on_progress(stage, 0, 1)
    yield
    on_progress(stage, 1, 1)


class ProgressLines:
    """Writes a line when a stage starts, when it ends, and at least every 30 s in between.

    Parameters
    ----------
    write
        Receives each line.
    clock
        Seconds that only grow.
    interval
        Longest silence in seconds; `tick` must be called more often than that.
    """

    def __init__(
        self,
        write: Callable[[str], object] = log.info,
        clock: Callable[[], float] = time.monotonic,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._write = write
        self._clock = clock
        self._interval = interval
        self._stages: dict[str, Stage] = {}
        self._last_line = clock()
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` units of a stage; a stage that is reported again after its end starts anew."""
        with self._lock:
            entry = self._stages.pop(stage, None)
            if entry is None:
                entry = Stage(stage, done, total, self._clock())
                if done < total:
                    self._line(f"{stage}: started" + ("" if total == 1 else f", {total:,} to do"))
            entry.done, entry.total = done, total
            if done >= total:
                self._line(entry.describe_end(self._clock()))
            else:
                self._stages[stage] = entry  # the most recent one is the last
        self.tick()

    def tick(self) -> None:
        """Write how far the most recent stage is if nothing was written for the interval."""
        with self._lock:
            if self._stages and self._clock() - self._last_line >= self._interval:
                self._line(next(reversed(self._stages.values())).describe(self._clock()))

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        self._write(text)


@contextmanager
def log_progress(
    write: Callable[[str], object] = log.info, *, interval: float = INTERVAL_SECONDS
) -> Iterator[ProgressLines]:
    """Yield a receiver that logs lines, also while a stage itself reports nothing for a long time."""
    lines = ProgressLines(write, interval=interval)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(min(1.0, interval)):
            lines.tick()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield lines
    finally:
        ended.set()
        watcher.join()
