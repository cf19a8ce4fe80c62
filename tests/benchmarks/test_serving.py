"""The benchmark of the service runs, compares and tells."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.local
@pytest.mark.e2e
def test_a_quick_run_measures_both_ways_and_no_request_fails(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "serving.py"), "--quick", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    assert [forest["largest_difference"] for forest in results["forests"]] == [0.0, 0.0]
    assert {name for name, ways in results["answers"].items() if "original" in ways} == {
        "existing user",
        "similar title",
        "title with a typo",
    }
    loads = [load for loads in results["http"].values() if isinstance(loads, list) for load in loads]
    assert len(loads) == 10
    assert all(load["n_failed"] == 0 and load["latency"]["n"] > 0 for load in loads)
    assert len(results["targets"]) == 7
    assert "Targets" in done.stdout
