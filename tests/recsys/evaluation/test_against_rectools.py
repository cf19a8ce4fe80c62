"""Our metrics are those of RecTools, to the last digits, on random worlds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.evaluation.list_metrics import catalog_coverage, intra_list_diversity, novelty
from recsys.features.item_side import normalise_rows
from recsys.gate.metrics import EMPTY, compute_ranking_metrics

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements" / "rectools.txt"
REFERENCE = Path(__file__).parent / "rectools_reference.py"
UNREACHABLE = ("error sending request", "failed to fetch", "dns error", "timed out", "connection", "network")
K = (1, 3, 10)


@pytest.fixture(scope="module")
def rectools_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the locked RecTools: its attrs is one that Airflow refuses, so it cannot live in ours."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which makes the environment of RecTools, is not installed; make install brings it")
    home = tmp_path_factory.mktemp("rectools") / "venv"
    python = home / "bin" / "python"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, home],
        [uv, "pip", "install", "--quiet", "--python", python, "-r", LOCK],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and any(mark in done.stderr.lower() for mark in UNREACHABLE):
            pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return python


def make_world(seed: int) -> dict[str, Any]:
    """Draw lists of any length, targets of any number, titles that nobody has rated or that carry no mark."""
    rng = np.random.default_rng(seed)
    n_users, n_items, n_training = 40, 60, 25
    lists = np.full((n_users, 12), EMPTY)
    for row in range(n_users):
        length = int(rng.integers(0, 13))
        lists[row, :length] = rng.choice(n_items, size=length, replace=False)
    relevant = csr_matrix(rng.random((n_users, n_items)) < rng.choice([0.0, 0.03, 0.3], size=(n_users, 1)))
    rated = rng.random((n_training, n_items)) < rng.random(n_items) ** 3
    rated[:, 0] = True
    units = normalise_rows((rng.random((n_items, 8)) < 0.3).astype(np.float32)).astype(np.float64)
    return {"lists": lists, "relevant": relevant, "rated": rated, "units": units, "k": K[seed % len(K)]}


def describe(world: dict[str, Any]) -> dict[str, Any]:
    """Say the same as tables of ids, as RecTools takes them."""
    users, places = np.nonzero(world["lists"] != EMPTY)
    reco = zip(users.tolist(), world["lists"][users, places].tolist(), (places + 1).tolist(), strict=True)
    return {
        "k": world["k"],
        "n_items": world["relevant"].shape[1],
        "reco": list(reco),
        "targets": np.transpose(world["relevant"].nonzero()).tolist(),
        "previous": np.transpose(np.nonzero(world["rated"])).tolist(),
        "units": world["units"].tolist(),
    }


def compute(world: dict[str, Any]) -> dict[str, Any]:
    """Compute the same with our own functions."""
    k = world["k"]
    top = world["lists"][:, :k]
    metrics = compute_ranking_metrics(world["lists"], world["relevant"], k)
    found: dict[str, Any] = {name.removesuffix(f"_at_{k}"): values for name, values in metrics.items()}
    found["novelty"] = novelty(top, world["rated"].sum(axis=0).astype(np.int64), len(world["rated"]))
    found["diversity"] = intra_list_diversity(top, world["units"])
    return found | {"coverage": catalog_coverage(top, world["relevant"].shape[1])}


def test_metrics_agree(rectools_python: Path) -> None:
    worlds = [make_world(seed) for seed in range(9)]
    asked = json.dumps([describe(world) for world in worlds])
    done = subprocess.run(
        [rectools_python, "-W", "ignore", REFERENCE], input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    n_compared = 0
    for world, theirs in zip(worlds, json.loads(done.stdout), strict=True):
        ours = compute(world)
        assert set(ours) == set(theirs)
        assert ours["coverage"] == pytest.approx(theirs["coverage"], abs=1e-9)
        for name in set(ours) - {"coverage"}:
            for user, value in enumerate(ours[name]):
                reference = theirs[name].get(str(user), np.nan)
                # Where nothing is defined RecTools leaves users out, or gives 0 for the variety of a single title.
                if np.isnan(value):
                    assert np.isnan(reference) or (name == "diversity" and reference == 0), (name, user)
                    continue
                assert value == pytest.approx(reference, abs=1e-9), (name, user)
                n_compared += 1
    assert n_compared > 9 * 7 * 15
