"""The service in a process of its own, over a model in a folder and a PostgreSQL with users in it.

    python benchmarks/parts/service.py FOLDER

serves the model of a folder until it is stopped; the settings are in the environment.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from app.native_pools import VARIABLES, load_lightgbm, pin_native_pools

READY_SECONDS = 300.0
DEAD = "postgresql://nobody@127.0.0.1:1/nothing"  # a database that is not there


@dataclass(frozen=True)
class Version:
    """The one version that there is."""

    run_id: str = "benchmark"
    digest: str = "benchmark"


@dataclass(frozen=True)
class Folder:
    """A registry of one version."""

    folder: Path

    def production_version(self) -> int | None:
        """Return version 1."""
        return 1

    def alias_version(self, alias: str) -> int | None:
        """Return version 1 for Production."""
        return 1 if alias == "production" else None

    def read_version(self, _version: int) -> Version:
        """Look it up."""
        return Version()

    def download(self, version: int, directory: Path) -> Path:
        """Copy it."""
        target = directory / f"version-{version}"
        if not target.is_dir():  # as the registry does: services of one home share their files
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                shutil.copytree(self.folder, Path(scratch) / "copy").replace(target)
        return target


@dataclass(frozen=True)
class Running:
    """A service that answers: its process and port, and the seconds that it took to be ready."""

    pid: int
    port: int
    seconds_to_ready: float


@contextmanager
def run_service(
    folder: Path,
    database_url: str,
    home: Path,
    *,
    cache_seconds: int = 0,
    is_pinned: bool = True,
    n_workers: int = 1,
    scored_lists: bool = False,
) -> Iterator[Running]:
    """Serve a model with one thread for work in each process, until the block ends.

    Parameters
    ----------
    n_workers
        Processes that serve; beyond one, the process is their supervisor.
    scored_lists
        Whether lists that were stored beforehand are answered.
    is_pinned
        Whether native libraries compute on one thread, as in the service; otherwise they choose themselves.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "OTAKU_DATABASE_URL": database_url,
        "OTAKU_HOME": str(home),
        "OTAKU_PORT": str(port),
        "OTAKU_WORKERS": str(n_workers),
        "OTAKU_WORK_THREADS": "1",
        "OTAKU_MAX_WAITING": "256",
        "OTAKU_WAIT_SECONDS": "10",
        "OTAKU_CACHE_SECONDS": str(cache_seconds),
        "OTAKU_SCORED_LISTS": str(scored_lists).lower(),
        "OTAKU_LOG_LEVEL": "ERROR",
        "OTAKU_RATE_LIMIT": "1000000/minute",
    }
    start = time.perf_counter()
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("OTAKU_") and n not in VARIABLES}
    words = [sys.executable, __file__, str(folder), *(["--pinned"] if is_pinned else [])]
    process = subprocess.Popen(words, env=inherited | settings, cwd=home)
    try:
        _wait_until_ready(port, process)
        yield Running(process.pid, port, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with code {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.02)
    raise TimeoutError(f"the service was not ready within {READY_SECONDS:.0f} s")


def serve(folder: Path, *, is_pinned: bool) -> None:
    """Serve until SIGTERM."""
    if is_pinned:
        pin_native_pools()
    load_lightgbm()
    from app.server import serve as run
    from recsys.settings import load_settings

    run(load_settings(), Folder(folder))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), is_pinned="--pinned" in sys.argv)
