"""A machine without Python 3.11: uv brings one, or one command is named that does."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "requirements" / "create_venv.sh"
TOOLS = ("sh", "cat", "dirname", "env")


def create_venv(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a PATH that holds basic tools and some programs, each a shell script."""
    path = tmp_path / "bin"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(next(p for p in (Path("/bin") / tool, Path("/usr/bin") / tool) if p.exists()))
    for name, text in programs.items():
        (path / name).write_text(f"#!/bin/sh\n{text}\n")
        (path / name).chmod(0o755)
    environment = {**os.environ, "PATH": str(path), "HOME": str(tmp_path)}
    command = [str(SCRIPT), "python3.11", str(tmp_path / "venv"), "0"]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_without_any_python_one_command_is_named(tmp_path: Path) -> None:
    done = create_venv(tmp_path)
    assert done.returncode == 1
    assert "uv python install 3.11" in done.stderr
    assert "Traceback" not in done.stderr


def test_uv_creates_the_environment_where_another_python_is_the_only_one(tmp_path: Path) -> None:
    # What uv does is left to it: the stand-in makes the environment of this interpreter, without pip's network.
    make = f'for last; do :; done\necho "$@" > uv-arguments\n"{sys.executable}" -m venv --without-pip "$last"'
    done = create_venv(tmp_path, uv=make, python3="exit 1")
    assert "--python 3.11" in (tmp_path / "uv-arguments").read_text()
    assert (tmp_path / "venv" / "bin" / "python").exists()
    assert "uv fetches one" in done.stderr


def test_a_uv_that_cannot_fetch_is_told_in_words(tmp_path: Path) -> None:
    done = create_venv(tmp_path, uv="exit 2")
    assert done.returncode == 1
    assert "uv could not fetch one" in done.stderr
