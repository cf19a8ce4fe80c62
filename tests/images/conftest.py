"""Containers of the images that `make images` built, with no more rights than a restricted pod has."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from otaku.platform.environment import settings_environment
from recsys import __version__
from recsys.settings import Settings

# Root is read-only, no capability is left, no process gains one. The services of the tests listen on loopback.
RESTRICTED = (
    *("--read-only", "--tmpfs", "/tmp:rw,mode=1777,size=3g", "--network", "host"),  # noqa: S108 - in the container
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--no-healthcheck"),
)
# Podman without systemd, as inside another container.
PODMAN = ("--runtime", "runc", "--cgroup-manager", "cgroupfs")


@dataclass(frozen=True)
class Engine:
    """Docker or Podman, whichever holds the images."""

    program: str

    def image(self, target: str) -> str:
        return f"my-otaku-friend-{target}:{__version__}"

    def call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        options = PODMAN if self.program == "podman" else ()
        environment = {"STORAGE_DRIVER": "overlay", **os.environ}
        command = [self.program, *options, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def holds_images(self) -> bool:
        if shutil.which(self.program) is None:
            return False
        return all(self.call("image", "inspect", self.image(name), check=False).returncode == 0 for name in TARGETS)

    def run(self, target: str, *command: str, options: tuple[str, ...] = ()) -> str:
        """Run a command in a restricted container and return its standard output."""
        return self.call("run", "--rm", *RESTRICTED, *options, self.image(target), *command).stdout

    def size(self, target: str) -> int:
        """Bytes of an image, its base included."""
        return int(json.loads(self.call("image", "inspect", self.image(target)).stdout)[0]["Size"])


TARGETS = ("app", "jobs")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that holds both images of this version; skipped where none does."""
    for program in ("docker", "podman"):
        if (found := Engine(program)).holds_images():
            return found
    pytest.skip("no images of this version: run make images")


@pytest.fixture
def environment_file(settings: Settings, postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """A file with the settings of the services of this run, as containers read it."""
    file = tmp_path / "environment"
    # Other kernels of BLAS round otherwise than those by which the golden requests were answered.
    kernels = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    inside = {"OTAKU_HOME": "/tmp/otaku", "OMP_NUM_THREADS": "1", "OTAKU_RELEVANCE_BOOSTERS": "1"}  # noqa: S108
    # MLflow keeps its tables beside those of no test.
    whole = settings.model_copy(update={"mlflow_database_url": SecretStr(postgres_url)})
    values = settings_environment(whole) | kernels | inside
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    yield str(file)
    file.unlink()
