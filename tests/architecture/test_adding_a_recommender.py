"""The example of docs/development.md: one file and one entry make a recommender that is trained, stored and served."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from app.models.serving import ServingModel
from app.recommending.lists import make_list
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendRequest
from otaku.cli import app
from recsys.data.sample_world import write_sample_world
from recsys.evaluation.tuning import list_tunable
from recsys.ranking.params import get_preset
from recsys.recommender import Recommender, UserProfile
from recsys.recommender.explaining import explain
from recsys.recommender.fitting import fit_recommender
from recsys.retrieval import registry
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.spec import ModelInputs, ModelSpec, Range
from tests.factories import tiny_recommender, tiny_world
from tests.modules import import_file

PAGE = Path(__file__).parents[2] / "docs" / "development.md"
NAME = "co-watched"
QUICK = {"als": {"n_factors": 8, "n_iterations": 3}, "lightfm": {"n_components": 8, "n_epochs": 2}}


def read_example() -> tuple[str, str]:
    section = PAGE.read_text(encoding="utf-8").split("## Adding a recommender")[1].split("\n## ")[0]
    file, entry = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    return file, entry


def import_example(folder: Path, source: str) -> ModuleType:
    path = folder / "co_watched_example.py"
    path.write_text(source, encoding="utf-8")
    return import_file(path)


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSpec]:
    """Write the file, and add the entry to the registry until the test ends."""
    source, line = read_example()
    module = import_example(tmp_path, source)
    names = {"ModelSpec": ModelSpec, "Range": Range, "CoWatched": module.CoWatched}
    spec = eval(line, names)  # noqa: S307 - the line of our own page
    monkeypatch.setattr(registry, "MODELS", (*registry.MODELS, spec))
    yield spec
    del sys.modules[module.__name__]


def make_small(inputs: ModelInputs) -> list[CandidateGenerator]:
    return list(registry.make_first_stage(replace(inputs, params=QUICK)))


def train() -> Recommender:
    catalog, interactions = tiny_world()
    preset = get_preset("default")
    small = {"n_estimators": 10, "num_leaves": 7, "min_data_in_leaf": 5}
    heads = {name: replace(getattr(preset, name), **small) for name in ("relevance", "rating")}
    texts = np.random.default_rng(0).normal(size=(len(catalog), 384)).astype(np.float32)
    preset = replace(preset, n_per_model=20, **heads)
    return fit_recommender(catalog, interactions, texts, preset, seed=0, n_threads=1, models=make_small).recommender


def test_the_example_is_short_and_its_entry_is_one_line() -> None:
    source, line = read_example()
    assert len(source.splitlines()) <= 48
    assert len(line.splitlines()) == 1


def test_an_entry_is_trained_stored_and_answers_alone(entry: ModelSpec, tmp_path: Path) -> None:
    trained = train()
    assert "co_watched_score" in trained.ranker.schema.names
    assert "co_watched" in trained.retriever.first_stage.proposers
    trained.save(tmp_path / "version")
    assert (tmp_path / "version" / "co_watched.npz").exists()
    loaded = Recommender.load(tmp_path / "version")
    profile = UserProfile(np.array([1, 6, 20]), np.array([9, 8, 10], dtype=np.float32))
    lists = [model.recommend(profile, algorithm=NAME, k=8) for model in (trained, loaded)]
    assert lists[0].item_ids.tolist() == lists[1].item_ids.tolist()
    assert np.array_equal(lists[0].scores, lists[1].scores)
    own = loaded.retriever.get_generator(NAME).score(profile.to_history(loaded.catalog))[0]
    assert np.array_equal(lists[1].scores, own[loaded.catalog.positions(lists[1].item_ids)])
    assert any(explain(loaded, profile, lists[1], NAME))
    ranked = [model.recommend(profile).scores for model in (trained, loaded)]
    assert np.array_equal(*ranked)


def test_an_entry_is_served_by_versions_that_hold_it(entry: ModelSpec) -> None:
    assert NAME in RecommendRequest.model_json_schema()["properties"]["algorithm"]["enum"]
    request, profile = RecommendRequest(algorithm=NAME, k=5, explain=True), UserProfile(np.array([1]), np.array([9.0]))
    new, old = (
        ServingModel.build(recommender, name="served", version=1, run_id="run")
        for recommender in (train(), tiny_recommender())
    )
    allowed = np.ones(len(new.recommender.catalog), dtype=bool)
    assert len(make_list(new, request, profile, allowed).found) == 5
    with pytest.raises(ProblemError) as refused:
        make_list(old, request, profile, allowed)
    assert refused.value.status == 422
    assert "no algorithm 'co-watched'; choose among ranker, ease" in str(refused.value)


def test_an_entry_is_evaluated_and_tuned_by_name(
    entry: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NAME in list_tunable()
    monkeypatch.setenv("OTAKU_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    assert NAME in CliRunner().invoke(app, ["evaluate", "--help"]).stdout
    write_sample_world(tmp_path / "world", n_users=150, n_items=90, n_ratings=4_000, seed=4)
    numbers = tmp_path / "numbers.json"
    options = ["--models", "popular,Co_Watched", "--data", str(tmp_path / "world"), "--json", str(numbers)]
    done = CliRunner().invoke(app, ["evaluate", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(numbers.read_text())["models"][NAME]["metrics"]["ndcg_at_10"]["mean"] > 0


def test_without_the_entry_there_is_no_such_model() -> None:
    assert NAME not in registry.list_names()
    assert NAME not in CliRunner().invoke(app, ["evaluate", "--help"]).stdout
