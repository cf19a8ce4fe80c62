"""Retrainings that run beside the tests."""

import itertools
import json
import os
import signal
import time
from datetime import date
from pathlib import Path
from typing import Any

from recsys.settings import Settings
from tests.fork_server import ROOT, Program
from tests.retrain_model.worlds import to_environment

FAILED = 1


class Fork(Program):
    """A job that writes to a log."""

    def __init__(self, log: Path, settings: Settings, *arguments: str) -> None:
        self.log = log
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | to_environment(settings)
        with log.open("w") as output:
            super().__init__(["-m", *arguments], env=environment, cwd=ROOT, stdout=output, stderr=output)

    def kill_at_stop(self) -> None:
        """Wait until it stands at the instant that it was given, and kill it there."""
        stopped, deadline = name_stop(self.log), time.monotonic() + 400
        while not stopped.exists():
            assert self.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        self.kill()
        assert self.wait() == -signal.SIGKILL


def name_stop(log: Path) -> Path:
    """Name the file that says that a job stands at the instant that it was given."""
    return log.with_suffix(".stopped")


class Jobs:
    """Runs `tests.retrain_model.crash`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def retrain(
        self, settings: Settings, as_of: date, *, die_after: str | None = None, sign: int = 0, **more: Any
    ) -> tuple[int, list[str]]:
        """Run to the end, or to the end that was ordered; return the exit code and the commit points reached."""
        order = {"as_of": as_of.isoformat(), "die_after": die_after, "signal": int(sign), **more}
        log = self._folder / f"{next(self._numbers)}.log"
        code = Fork(log, settings, "tests.retrain_model.crash", json.dumps(order)).wait()
        text = log.read_text()
        assert code in (0, 143, FAILED, -signal.SIGKILL), text
        return code, [line.removeprefix("reached ") for line in text.splitlines() if line.startswith("reached ")]

    def kill(self, settings: Settings, as_of: date, point: str, sign: int, **more: Any) -> None:
        """Retrain and die after a commit point."""
        code, reached = self.retrain(settings, as_of, die_after=point, sign=sign, **more)
        assert code == (143 if sign == signal.SIGTERM else -signal.SIGKILL), (point, reached)
        assert reached[-1] == point
