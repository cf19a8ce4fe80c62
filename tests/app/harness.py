"""Applications over models in folders, for tests that need no registry."""

import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.main import create_app
from recsys.exceptions import NoProductionModelError
from recsys.settings import Settings

with warnings.catch_warnings():  # it asks for httpx2, which this environment has no use for yet
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

WATCH_SECONDS = 0.02
# A service on loopback answers for no other host.
BASE_URL = "http://127.0.0.1"


@dataclass(frozen=True)
class FolderVersion:
    run_id: str
    digest: str = ""


@dataclass
class FolderSource:
    """A registry whose versions are folders."""

    folders: dict[int, Path]
    production: int | None = 1
    downloads: list[int] = field(default_factory=list)
    error: Exception | None = None
    challenger: int | None = None

    def production_version(self) -> int | None:
        if self.error is not None:
            raise self.error
        return self.production

    def alias_version(self, alias: str) -> int | None:
        if self.error is not None:
            raise self.error
        return {"production": self.production, "challenger": self.challenger}[alias]

    def read_version(self, version: int) -> FolderVersion:
        return FolderVersion(f"run-{version}")

    def download(self, version: int, directory: Path) -> Path:
        assert directory.is_dir()
        self.downloads.append(version)
        if version not in self.folders:
            raise NoProductionModelError(f"there is no version {version}")
        target = directory / f"version-{version}"
        shutil.copytree(self.folders[version], target, dirs_exist_ok=True)
        return target


class RedisServer:
    """A Redis on a socket in a folder: no port, nothing on disk, started and stopped at will."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._socket.parent)
        wait_for(self._answers)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None
        self._socket.unlink(missing_ok=True)


@contextmanager
def open_client(settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    """Start an application and wait until it is ready."""
    app = create_app(settings, source=source, watch_seconds=WATCH_SECONDS)
    with TestClient(app, BASE_URL, raise_server_exceptions=False) as opened:
        wait_for(lambda: app.state.service.production.served is not None)
        wait_for(lambda: opened.get("/health/ready").status_code == 200)
        yield opened


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
