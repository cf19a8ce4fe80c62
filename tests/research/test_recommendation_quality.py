"""The quality report can be made by anybody: measured, gone on with, and rendered."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recsys.data.sample_world import write_sample_world

FOLDER = Path(__file__).parents[2] / "research" / "1-recommendation-quality"
MODELS = ("popular", "ease")


def run(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FOLDER / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is left after a measurement of two models in a small world."""
    folder = tmp_path_factory.mktemp("quality")
    write_sample_world(folder / "data", n_users=150, n_items=90, n_ratings=4_000, seed=4)
    done = run("measure.py", folder / "data", folder / "work", "--models", MODELS[0], "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "popular, heldout ..." in done.stdout
    return folder / "work"


@pytest.mark.slow
def test_measuring_again_goes_on_and_the_page_tells_the_numbers(work: Path, tmp_path: Path) -> None:
    known = (work / "test" / "popular.json").read_bytes()
    done = run("measure.py", work.parent / "data", work, "--models", ",".join(MODELS), "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "popular, heldout" not in done.stdout
    assert "ease, heldout" in done.stdout
    assert (work / "test" / "popular.json").read_bytes() == known
    results = json.loads((work / "results.json").read_text())
    for name in MODELS:
        facts = results["models"][name]["facts"]
        assert facts["process_peak_bytes"] >= facts["fit_peak_bytes"] > 50e6
        assert (work / "test" / f"{name}.parquet").exists()

    (tmp_path / "findings.md").write_text("What a person has to say.")
    assert run("render.py", work / "results.json", tmp_path).returncode == 0
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "What a person has to say." in page
    for name, label in zip(MODELS, ("popularity", "EASE"), strict=True):
        found = results["models"][name]["metrics"]["ndcg_at_10"]
        assert f"| {label} | {found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f}) |" in page
    assert "nan" not in page
    assert "leaky" not in page.lower()
    figures = re.findall(r"\]\(([^)]+\.svg)\)", page)
    assert len(figures) == 4
    assert all((tmp_path / name).is_file() for name in figures)


@pytest.mark.slow
def test_tuning_writes_what_measuring_reads(work: Path) -> None:
    done = run("tune.py", work.parent / "data", work, "--models", "ease", "--trials", 2)
    assert done.returncode == 0, done.stderr
    tuned = json.loads((work / "tuned.json").read_text())
    assert tuned["ease"]["n_trials"] == 2
