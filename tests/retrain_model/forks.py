"""Ask the warm process of `tests.retrain_model.crash` for retrainings."""

import itertools
import json
import signal
import subprocess
import time
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

from recsys.settings import Settings
from tests.retrain_model.crash import FAILED, RUNNING
from tests.retrain_model.worlds import to_environment


class Jobs:
    """A warm process that forks retrainings."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process, self._folder, self._lock = process, folder, Lock()
        self._numbers = itertools.count()

    def ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def retrain(
        self, settings: Settings, as_of: date, *, die_after: str | None = None, sign: int = 0, **more: Any
    ) -> tuple[int, list[str]]:
        """Run to the end, or to the end that was ordered; return the exit code and the commit points reached."""
        log = self._folder / f"{next(self._numbers)}.log"
        order = {
            "environment": to_environment(settings),
            "as_of": as_of.isoformat(),
            "log": str(log),
            "die_after": die_after,
            "signal": int(sign),
            **more,
        }
        fork = self.ask(order)
        while (code := self.ask({"poll": fork})) == RUNNING:
            time.sleep(0.01)
        text = log.read_text()
        assert code in (0, 143, FAILED, -signal.SIGKILL), text
        return code, [line.removeprefix("reached ") for line in text.splitlines() if line.startswith("reached ")]

    def kill(self, settings: Settings, as_of: date, point: str, sign: int, **more: Any) -> None:
        """Retrain and die after a commit point."""
        code, reached = self.retrain(settings, as_of, die_after=point, sign=sign, **more)
        assert code == (143 if sign == signal.SIGTERM else -signal.SIGKILL), (point, reached)
        assert reached[-1] == point
