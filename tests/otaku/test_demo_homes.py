"""What a killed demo leaves behind is removed by the next, and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otaku.platform.supervisor import MARKER

HOLD = """
import sys, time
from pathlib import Path
from otaku.demo.homes import open_demo_home
with open_demo_home(Path(sys.argv[1])) as home:
    (home / "data").write_text("x")
    print(home, flush=True)
    time.sleep(600)
"""


def start(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_demo_is_removed_by_the_next_and_a_running_one_is_not(tmp_path: Path) -> None:
    from otaku.demo.homes import open_demo_home

    killed, abandoned = start(tmp_path)
    running, used = start(tmp_path)
    foreign, linked = tmp_path / "demo-of-another-program", tmp_path / "demo-link"
    foreign.mkdir()
    linked.symlink_to(abandoned)
    try:
        kill(killed)
        assert abandoned.is_dir()
        with open_demo_home(tmp_path) as home:
            assert not abandoned.exists()
            assert {home, used, foreign} == {path for path in tmp_path.iterdir() if not path.is_symlink()}
        assert (used / "data").exists()
        assert not home.exists()
        assert linked.is_symlink()
    finally:
        kill(running)


def test_a_home_with_a_service_that_still_runs_or_of_another_owner_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otaku.demo.homes import remove_abandoned

    killed, abandoned = start(tmp_path)
    kill(killed)
    waiting = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        waiting,
        env=os.environ | {MARKER: f"{abandoned}/postgres"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as service:
        assert service.stdout is not None
        service.stdout.readline()
        assert remove_abandoned(tmp_path) == []
        service.communicate(b"\n")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert remove_abandoned(tmp_path) == []
    monkeypatch.undo()
    assert remove_abandoned(tmp_path) == [abandoned]
