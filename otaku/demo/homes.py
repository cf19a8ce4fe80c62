"""Temporary homes of demos, removed with the run, or by the next one if the run was killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from otaku.platform.supervisor import MARKER

PREFIX: Final = "demo-"
LOCK: Final = "demo.lock"


@contextmanager
def open_demo_home(parent: Path) -> Iterator[Path]:
    """Give a run a home of its own; the lock in it is held until the process ends, however it ends."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_abandoned(parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=PREFIX, ignore_cleanup_errors=True) as name:
        home = Path(name)
        draft = home / f".{LOCK}"
        with draft.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Renamed once it is held: another run never sees the lock of a live one free.
            draft.rename(home / LOCK)
            yield home


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove the homes of demos whose process is gone and return them.

    Left alone are folders of other owners, links, folders without a lock, and homes in which a service still runs.
    """
    removed = []
    for home in sorted(parent.glob(f"{PREFIX}*")):
        if _is_abandoned(home):
            shutil.rmtree(home, ignore_errors=True)
            removed.append(home)
    return removed


def _is_abandoned(home: Path) -> bool:
    lock = home / LOCK
    if home.is_symlink() or lock.is_symlink() or not lock.is_file():
        return False
    if {home.stat().st_uid, lock.stat().st_uid} != {os.geteuid()}:
        return False
    with lock.open("r+") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return not any(_belongs_to(process, home) for process in psutil.process_iter())


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        return bool(process.environ().get(MARKER, "").startswith(str(home)))
    except psutil.Error:
        return False
