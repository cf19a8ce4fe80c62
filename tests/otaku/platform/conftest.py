"""A home that nothing may outlive, and settings that name no service."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from otaku.platform.supervisor import MARKER, stop_orphans
from recsys.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A fresh OTAKU_HOME; the test fails if a process of it survives."""
    path = tmp_path / "home"
    path.mkdir()
    yield path
    left = marked_processes(path)
    stop_orphans(path)
    assert left == []


@pytest.fixture
def given(home: Path) -> Settings:
    """Settings as a new user has them: a home and nothing else."""
    return Settings(_env_file=None, home=home)  # type: ignore[call-arg]


@pytest.fixture
def processes_of() -> Callable[[Path], list[str]]:
    """List the processes of a home by their command line."""
    return marked_processes


def marked_processes(home: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(MARKER) == str(home) and process.pid != os.getpid()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
