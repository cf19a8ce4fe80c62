"""The quality report can be made by anybody: measured, gone on with, and rendered."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data.sample_world import write_sample_world
from recsys.data.splits import TEST, TRAIN, VALIDATION, assign_groups
from tests.fork_server import run_program

FOLDER = Path(__file__).parents[2] / "research" / "1-recommendation-quality"
MODELS = ("popular", "ease")


def run(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return run_program([FOLDER / script, *arguments])


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
def test_measuring_again_goes_on_and_the_page_shows_the_numbers(work: Path, tmp_path: Path) -> None:
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

    (tmp_path / "findings.md").write_text("What a user has to say.")
    assert run("render.py", work / "results.json", tmp_path).returncode == 0
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "What a user has to say." in page
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


@pytest.mark.e2e
def test_every_split_is_evaluated_on_other_users(work: Path, tmp_path: Path) -> None:
    done = run("crossvalidate.py", work.parent / "data", tmp_path, "--models", "popular,ease", "--splits", 2)
    assert done.returncode == 0, done.stderr
    worlds = [pd.read_parquet(tmp_path / f"split-{split}" / "world" / "ratings.parquet") for split in (0, 1)]
    # The same ratings under other ids: item by item, the same values.
    sorted_ratings = [world.groupby("item_id")["rating"].apply(sorted).to_dict() for world in worlds]
    assert sorted_ratings[0] == sorted_ratings[1]
    groups = [dict(zip(users, assign_groups(users), strict=True)) for users in (w["user_id"].unique() for w in worlds)]
    validators = [{user for user, group in found.items() if group == VALIDATION} for found in groups]
    assert validators[0] == validators[1]
    evaluation_users = [{user for user, group in found.items() if group == TEST} for found in groups]
    assert not evaluation_users[0] & set(groups[1]), "evaluation users train under another id in the other split"
    assert not evaluation_users[1] & set(groups[0])

    found = json.loads((tmp_path / "splits.json").read_text())
    assert found["n_users"] == sum(len(pd.read_parquet(tmp_path / f"split-{s}/test/ease.parquet")) for s in (0, 1))
    assert len(found["models"]["ease"]["versus_by_split"]) == 2
    assert found["models"]["popular"]["versus"] is None

    page = tmp_path / "page"
    shutil.copy(work / "results.json", tmp_path)
    assert run("render.py", tmp_path / "results.json", page).returncode == 0
    text = (page / "README.md").read_text(encoding="utf-8")
    assert f"{found['n_users']} evaluation users in all" in text
    assert f"| popularity | {found['models']['popular']['mean']:.4f} |" in text


@pytest.mark.slow
def test_no_more_splits_than_there_are_users_for(work: Path, tmp_path: Path) -> None:
    done = run("crossvalidate.py", work.parent / "data", tmp_path, "--splits", 10)
    assert done.returncode == 2
    assert "invalid choice: 10" in done.stderr


@pytest.mark.e2e
def test_a_learning_curve_takes_training_users_away_and_nobody_else(work: Path, tmp_path: Path) -> None:
    done = run("learning_curve.py", work.parent / "data", tmp_path, "--models", "popular,ease", "--shares", "40,100")
    assert done.returncode == 0, done.stderr
    worlds = [pd.read_parquet(tmp_path / f"share-{share}" / "world" / "ratings.parquet") for share in (40, 100)]
    users = [set(world["user_id"]) for world in worlds]
    groups = dict(zip(sorted(users[1]), assign_groups(np.array(sorted(users[1]))), strict=True))
    assert users[0] < users[1]
    assert {groups[user] for user in users[1] - users[0]} == {TRAIN}
    found = json.loads((tmp_path / "learning_curve.json").read_text())
    sizes = [share["n_training_users"] for share in found["shares"]]
    assert 0.2 < sizes[0] / sizes[1] < 0.6
    assert found["shares"][1]["models"]["popular"]["versus"] is None

    shutil.copy(work / "results.json", tmp_path)
    assert run("render.py", tmp_path / "results.json", tmp_path / "page").returncode == 0
    page = (tmp_path / "page" / "README.md").read_text(encoding="utf-8")
    mean = found["shares"][0]["models"]["ease"]["mean"]
    assert f"| 40 %: {sizes[0]} users |" in page
    assert f"{mean['mean']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})" in page


@pytest.mark.slow
def test_a_share_beyond_everybody_is_refused(work: Path, tmp_path: Path) -> None:
    done = run("learning_curve.py", work.parent / "data", tmp_path, "--shares", "50,101")
    assert done.returncode == 1
    assert "--shares 50,101: give percentages from 1 to 100" in done.stderr


@pytest.mark.e2e
def test_trainings_of_other_seeds_differ_and_the_page_says_by_how_much(work: Path, tmp_path: Path) -> None:
    data = work.parent / "data"
    assert run("measure.py", data, tmp_path, "--models", "ranker", "--threads", 1).returncode == 0
    done = run("spread.py", data, tmp_path, "--seeds", 2, "--threads", 1)
    assert done.returncode == 0, done.stderr
    tables = [pd.read_parquet(tmp_path / "spread" / f"{seed}.parquet") for seed in (0, 1)]
    found = json.loads((tmp_path / "spread.json").read_text())
    measured = pd.read_parquet(tmp_path / "test" / "ranker.parquet")["ndcg_at_10"]
    for name, head in found["heads"].items():
        assert head["means"] == pytest.approx([table[name].mean() for table in tables])
        assert head["deviation"] == pytest.approx(np.std(head["means"], ddof=1))
        assert head["by_user"] > head["deviation"]
    assert found["heads"]["as versions are trained"]["means"][0] == pytest.approx(measured.mean())
    assert not tables[0].equals(tables[1])

    shutil.copy(work / "results.json", tmp_path)
    assert run("render.py", tmp_path / "results.json", tmp_path / "page").returncode == 0
    page = (tmp_path / "page" / "README.md").read_text(encoding="utf-8")
    assert f"| one booster | {np.mean(found['heads']['one booster']['means']):.4f} |" in page


@pytest.mark.e2e
def test_a_ranker_of_a_cluster_is_compared_user_by_user_with_that_of_one_process(work: Path, tmp_path: Path) -> None:
    data = work.parent / "data"
    assert run("measure.py", data, tmp_path, "--models", "ranker", "--threads", 1).returncode == 0
    done = run("on_cluster.py", data, tmp_path, "--workers", "1,2", "--threads", 1)
    assert done.returncode == 0, done.stderr
    known = pd.read_parquet(tmp_path / "test" / "ranker.parquet")
    for n_workers, found in enumerate(json.loads((tmp_path / "on_cluster.json").read_text()), start=1):
        assert found["workers"] == n_workers == len(found["peak_mib"])
        difference = found["versus_one_process"]
        assert difference["champion_mean"] == pytest.approx(known["ndcg_at_10"].mean())
        assert difference["n"] == known["ndcg_at_10"].notna().sum()
        assert abs(difference["mean"]) < 0.1
