"""The time machine: weeks of the demo through the real scheduler."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.otaku.test_demo import check_answers, find_processes
from tests.retrain_model.worlds import write_tiny_world

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]


def test_two_weeks_are_told_as_airflow_lives_through_them(tmp_path: Path) -> None:
    world, file, home = tmp_path / "world", tmp_path / "story.json", tmp_path / "home"
    write_tiny_world(world)
    command = [sys.executable, "-m", "otaku", "demo", "--airflow", "--weeks", "2", "--data", str(world)]
    environment = os.environ | {
        "OTAKU_HOME": str(home),
        "COLUMNS": "160",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [*command, "--json", str(file)], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert find_processes(home) == []
    assert list(home.glob("demo-*")) == []

    story = json.loads(file.read_text())
    first, second = story["weeks"]
    assert [day["day"] for day in first["arrivals"]] == [f"2026-01-{day:02}" for day in range(5, 12)]
    assert [day["day"] for day in second["arrivals"]] == [f"2026-01-{day:02}" for day in range(12, 19)]
    assert [week["run_key"][:10] for week in (first, second)] == ["2026-01-11", "2026-01-18"]
    assert first["action"] == "promote"
    assert first["drift"] is None
    assert second["drift"]
    assert f"Drift: {second['drift']}" in done.stdout
    assert {"week 1: arrivals", "week 1: drift", "week 1: retrain", "week 2: retrain"} <= set(story["seconds"])
    if second["action"] == "keep":
        check_answers(story["answers"])
    for chapter in ("The platform comes up", "Data come in", "Week 1", "Week 2", "The service answers"):
        assert chapter in done.stdout
    assert "Watch Airflow at http://127.0.0.1:" in done.stdout
