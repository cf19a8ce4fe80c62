"""Run the parts of Airflow together: `python -P airflow_server.py PORT`.

The same parts as `airflow standalone`, but a part that ends, for example because PostgreSQL was restarted, is started
again once what it left behind has ended, the log servers with their fixed ports are left out, and the pool for training
is there from the start. The configuration comes from the environment; the guard of the platform ends everything
together.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType

import psutil

from otaku.platform import guard

TRAINING_POOL = "training"
POOL_DESCRIPTION = "one training at a time"
GRACE_SECONDS = 20.0
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
DAY_SECONDS = 86_400.0
FIRST_CLEANING_SECONDS = 600.0
KEEP_DAYS = "OTAKU_AIRFLOW_KEEP_DAYS"

log = logging.getLogger("otaku.airflow")


def prepare_database() -> None:
    """Migrate the metadata database and create the pool that the training tasks share."""
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    initdb()
    Pool.create_or_update_pool(TRAINING_POOL, slots=1, description=POOL_DESCRIPTION, include_deferred=False)


def clean_up(days: int, now: datetime) -> None:
    """Delete what Airflow keeps of runs that ended before so many days, and the logs of their tasks.

    The last run of each DAG stays, from which its schedule goes on.
    """
    before = now - timedelta(days=days)
    command = [sys.executable, "-P", "-m", "airflow", "db", "clean", "--clean-before-timestamp", before.isoformat()]
    subprocess.run([*command, "--skip-archive", "--yes"], stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    delete_old_files(Path(os.environ["AIRFLOW_HOME"]) / "logs", before)


def delete_old_files(folder: Path, before: datetime) -> None:
    """Delete the files below a folder that were last written before a moment, and folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):  # written or deleted meanwhile; a folder that is not empty stays
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.lstat().st_mtime < before.timestamp():
                path.unlink()


class Cleaning:
    """Cleans up once a day, in a process of its own, if the setting says after how many days."""

    def __init__(self, days: str | None) -> None:
        self._days = days
        self._due = time.monotonic() + FIRST_CLEANING_SECONDS
        self._process: subprocess.Popen[bytes] | None = None

    def supervise(self, now: float) -> None:
        """Start a cleaning if one is due and none runs."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._days and now >= self._due:
            self._process = _start((sys.executable, "-P", __file__, "clean", self._days))
            self._due = now + DAY_SECONDS


class Component:
    """One process of Airflow that is started again whenever it ends, after growing pauses."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self._command = (sys.executable, "-P", "-m", "airflow", name, *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0
        self._pause = 1.0
        self._groups: set[int] = set()

    def supervise(self, now: float) -> None:
        """Start the process if it is due, and see whether it ended."""
        if self._process is None:
            if now >= self._due:
                self._process = _start(self._command)
                self._started = now
            self._end_left_behind()
            return
        if (code := self._process.poll()) is not None:
            self._pause = 1.0 if now - self._started > STEADY_SECONDS else min(2 * self._pause, LONGEST_PAUSE)
            log.warning("%s ended with %s; started again in %.0f s", self.name, code, self._pause)
            self._groups.add(self._process.pid)
            self._process, self._due = None, now + self._pause
        self._end_left_behind()

    def _end_left_behind(self) -> None:
        """End what earlier processes of this part left behind; a task that a killed scheduler started ends first."""
        for group in tuple(self._groups):
            members = [process for process in psutil.process_iter() if _group_of(process) == group]
            for process in members:
                if self.name != "scheduler" or _has_no_task(process, members):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            if not members:
                self._groups.discard(group)

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait until the process has ended, and end it at the deadline."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
            return
        self._process.kill()
        self._process.wait()


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a part in a process group of its own; it ends with this process."""
    ending = partial(guard.die_with_parent, signal.SIGTERM)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=ending)  # noqa: S603


def _group_of(process: psutil.Process) -> int | None:
    with contextlib.suppress(OSError, psutil.Error):
        return os.getpgid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    return None


def _has_no_task(process: psutil.Process, members: Sequence[psutil.Process]) -> bool:
    """Whether a process of a scheduler that ended is an idle worker: it waits for a task that will never come."""
    with contextlib.suppress(psutil.Error):
        return "<idle>" in " ".join(process.cmdline()) and not set(process.children()) & set(members)
    return False


def answers(port: str) -> bool:
    """Return whether the API server answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/version", timeout=5):
            return True
    except OSError:
        return False


def main(arguments: Sequence[str]) -> None:
    """Prepare the database, then supervise the components until a signal to stop."""
    (port,) = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    preparation = subprocess.Popen([sys.executable, "-P", __file__, "prepare"], stdin=subprocess.DEVNULL)  # noqa: S603
    if preparation.wait():
        sys.exit(preparation.returncode)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    components = [
        Component("api-server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
        Component("scheduler", "--skip-serve-logs"),
        Component("dag-processor"),
        Component("triggerer", "--skip-serve-logs"),
    ]
    # Tasks report to the API server: a scheduler that is ready first would let its first tasks fail.
    everything, cleaning = False, Cleaning(os.environ.get(KEEP_DAYS))
    while not stopping:
        everything = everything or answers(port)
        for component in components if everything else components[:1]:
            component.supervise(time.monotonic())
        cleaning.supervise(time.monotonic())
        time.sleep(0.5)
    for component in components:
        component.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for component in components:
        component.wait(deadline)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    if sys.argv[1:] == ["prepare"]:
        prepare_database()
    elif sys.argv[1:2] == ["clean"]:
        clean_up(int(sys.argv[2]), datetime.now(UTC))
    else:
        main(sys.argv[1:])
