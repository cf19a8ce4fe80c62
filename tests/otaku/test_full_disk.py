"""A full disk: a command ends with one sentence that says so, nothing is half written, the next run goes on."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system of its own"),
]
Otaku = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def mounted(place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a small file system that nothing else uses."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def otaku(home: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run `otaku` with a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTAKU", "MLFLOW"))}
    return subprocess.run(
        [sys.executable, "-m", "otaku", *map(str, arguments)],
        env={**environment, "OTAKU_HOME": str(home), "COLUMNS": "200"},
        cwd=home.parent,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def read_sentence(done: "subprocess.CompletedProcess[str]") -> str:
    """Read the one line on stderr that a failed command ends with, after the lines of its progress."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.strip().splitlines() if " INFO " not in line]
    return line


def test_up_names_the_disk_and_no_service(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 40) as disk:
        done = otaku(disk / "home", "up", "--no-airflow")
        assert read_sentence(done).startswith("otaku: the disk is full: ")
        assert "MiB are free at" in done.stderr
    running = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in running if str(disk) in command]


def test_ingest_names_the_disk_writes_nothing_and_goes_on_later(tmp_path: Path) -> None:
    world = tmp_path / "world"
    made = otaku(tmp_path / "other", "sample", world, "--users", 3000, "--items", 500, "--ratings", 400_000)
    assert made.returncode == 0, made.stderr
    with mounted(tmp_path / "disk", 400) as disk:
        home = disk / "home"
        up = otaku(home, "up", "--no-airflow")
        assert up.returncode == 0, up.stderr
        try:
            filler, free = disk / "filler", psutil.disk_usage(str(disk)).free
            filler.write_bytes(b"0" * (free - (8 << 20)))
            assert "the disk is full" in read_sentence(otaku(home, "ingest", world))
            assert "the disk is full" in read_sentence(otaku(home, "ingest", world))

            filler.unlink()
            up = otaku(home, "up", "--no-airflow")
            assert up.returncode == 0, up.stderr
            status = otaku(home, "ingest", world)
            assert status.returncode == 0, status.stderr
            assert "known" in status.stdout
            again = otaku(home, "ingest", world)
            assert "Changed rows: none" in again.stdout
        finally:
            down = otaku(home, "down")
        assert down.returncode == 0, down.stderr
