import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.exceptions import ArtifactError
from recsys.ranking.forest import Forest
from recsys.ranking.forest_checks import check_forest_text
from recsys.ranking.ranker import Ranker
from tests.factories import tiny_recommender


def build_text(n_trees: int = 8) -> str:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(400, 4))
    features[:, 3] = rng.integers(0, 40, 400)
    features[rng.random((400, 4)) < 0.05] = np.nan
    labels = features[:, 0] + (np.nan_to_num(features[:, 3]) % 7) + rng.normal(size=400)
    data = lgb.Dataset(np.nan_to_num(features), np.nan_to_num(labels), categorical_feature=[3])
    settings = {"verbosity": -1, "num_leaves": 9, "min_data_in_leaf": 5, "num_threads": 1}
    return str(lgb.train(settings, data, n_trees).model_to_string())


TEXT = build_text()


def test_what_lightgbm_writes_passes() -> None:
    assert check_forest_text(TEXT) == 8
    assert "num_cat=1" in TEXT or "num_cat=2" in TEXT
    constant = lgb.train({"verbosity": -1}, lgb.Dataset(np.zeros((50, 2)), np.ones(50)), 1).model_to_string()
    assert check_forest_text(constant) == 1


def test_a_limit_that_only_missing_values_pass_is_infinite() -> None:
    """LightGBM writes it where a feature is missing for the rest of the rows, as those of a user without a history."""
    rows = np.repeat(np.array([[0.0], [2.0], [np.nan]], dtype=np.float32), 100, axis=0)
    data = lgb.Dataset(rows, np.repeat([0.0, 0.0, 1.0], 100), params={"verbosity": -1})
    booster = lgb.train({"verbosity": -1, "num_leaves": 2, "num_threads": 1}, data, 1)
    text = booster.model_to_string()
    assert "\nthreshold=inf\n" in text
    assert check_forest_text(text) == 1
    assert np.array_equal(lgb.Booster(model_str=text).predict(rows), booster.predict(rows))
    forest = Forest.from_booster(booster)
    assert np.array_equal(forest.score(np.asfortranarray(rows)), booster.predict(rows, num_threads=1))
    for other in ("-inf", "nan", "infinity", "1e999 inf inf"):
        with pytest.raises(ArtifactError):
            check_forest_text(text.replace("threshold=inf", f"threshold={other}"))


@given(st.integers(0, len(TEXT.rpartition("end of trees")[0]) + len("end of tree")))
def test_a_model_that_was_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(ArtifactError):
        check_forest_text(TEXT[:length])


def change(name: str, tree: int, place: int, value: str) -> str:
    """Alter one number of one tree and let the sizes agree."""
    head, *trees = TEXT.split("\nTree=")
    lines = trees[tree].splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith(f"{name}="))
    values = lines[row].partition("=")[2].split()
    values[place] = value
    lines[row] = f"{name}={' '.join(values)}"
    trees[tree] = "\n".join(lines) + "\n\n"[: len(trees[tree]) - len(trees[tree].rstrip("\n"))]
    told = next(line for line in head.split("\n") if line.startswith("tree_sizes="))
    sizes = told.removeprefix("tree_sizes=").split(" ")
    sizes[tree] = str(len(trees[tree].encode()) + 6)
    head = head.replace(told, f"tree_sizes={' '.join(sizes)}")
    return "\nTree=".join([head, *trees])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split_feature", "99"),
        ("split_feature", "-1"),
        ("left_child", "500"),
        ("left_child", "-500"),
        ("right_child", "0"),
        ("num_leaves", "3"),
        ("num_leaves", "many"),
        ("threshold", "1 2"),
        ("leaf_value", ""),
    ],
)
def test_a_tree_that_leads_astray_is_refused(name: str, value: str) -> None:
    with pytest.raises(ArtifactError):
        check_forest_text(change(name, 2, 0, value))


def test_the_way_of_altering_alters_nothing_else() -> None:
    leaf = TEXT.split("\nTree=")[3].split("leaf_value=")[1].split()[0]
    assert check_forest_text(change("leaf_value", 2, 0, leaf)) == 8


def test_half_a_ranker_does_not_end_the_process(tmp_path: Path) -> None:
    tiny_recommender().ranker.save(tmp_path)
    path = tmp_path / "relevance.lgb.txt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    program = (
        f"from pathlib import Path; from recsys.ranking.ranker import Ranker; Ranker.load(Path({str(tmp_path)!r}))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 1
    assert "ArtifactError: relevance.lgb.txt" in done.stderr
    with pytest.raises(ArtifactError, match="truncated"):
        Ranker.load(tmp_path)
