"""`otaku evaluate` on a folder without any service, and on the database with a registered version."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from otaku.cli import app
from otaku.evaluation import loading
from otaku.platform.environment import settings_environment
from recsys.connections import open_registry
from recsys.data.sample_world import write_sample_world
from recsys.exceptions import EvaluationError
from recsys.retrieval.item_item import ItemKnn
from recsys.settings import Settings
from recsys.storage.registry import PRODUCTION
from recsys.types import Floats
from tests.factories import tiny_recommender

PACKAGES = ("otaku", "recsys", "retrain_model", "simulate_new_users", "app")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "world"
    write_sample_world(folder, n_users=150, n_items=90, n_ratings=4_000, seed=4)
    return folder


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.setenv("OTAKU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    levels = {name: logging.getLogger(name).level for name in PACKAGES}
    yield CliRunner()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def evaluate(runner: CliRunner, *arguments: str) -> str:
    result = runner.invoke(app, ["evaluate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_folder_needs_no_service(runner: CliRunner, world: Path, tmp_path: Path) -> None:
    numbers, plots = tmp_path / "numbers.json", tmp_path / "plots"
    told = evaluate(
        runner,
        *("--data", str(world), "--models", "popular,item-kNN,ease", "--reference", "item-knn", "--max-users", "9"),
        *("--json", str(numbers), "--plots", str(plots), "--save", str(tmp_path / "models")),
    )
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"popular", "item-knn", "ease"}
    assert ItemKnn.load(tmp_path / "models" / "item-knn").item_weights is not None
    assert "9 held-out users" in told
    assert "model minus item-knn" in told
    assert "LEAKY" not in told
    found: dict[str, Any] = json.loads(numbers.read_text())
    assert list(found["models"]) == ["popular", "item-knn", "ease"]
    assert found["protocol"]["group"] == "test"
    assert {path.name for path in plots.iterdir()} == {"accuracy.svg", "lists.svg", "slices.svg", "differences.svg"}


def test_leaky_protocols_stand_under_the_honest_table(
    runner: CliRunner, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(texts: Sequence[str], model_name: str) -> Floats:
        return np.random.default_rng(0).normal(size=(len(texts), 384)).astype(np.float32)

    monkeypatch.setattr(loading, "embed_texts", embed)
    params = tmp_path / "params.json"
    quick = {"n_components": 4, "n_epochs": 1, "n_estimators": 5, "learning_rate": 0.3}
    params.write_text(json.dumps({"seed004": quick, "ease": {"regularisation": 80.0}}))
    numbers = tmp_path / "numbers.json"
    told = evaluate(
        runner,
        *("--data", str(world), "--models", "ease,seed004", "--protocol", "seed004", "--params", str(params)),
        *("--json", str(numbers), "--group", "validation"),
    )
    assert 0 < told.index("NDCG@10") < told.index("LEAKY")
    found = json.loads(numbers.read_text())
    assert found["leaky"]["label"] == "leaky"
    assert found["leaky"]["settings"]["n_estimators"] == 5
    assert found["protocol"]["params"]["ease"] == {"regularisation": 80.0}


def test_cold_start_slices_are_shown_on_request(runner: CliRunner, world: Path) -> None:
    told = evaluate(runner, "--data", str(world), "--models", "genre,popular", "--cold")
    assert "Cold start" in told
    assert "model minus popular" in told
    assert "Titles without a rating" in told


def test_wrong_use_is_told(runner: CliRunner, world: Path) -> None:
    both = runner.invoke(app, ["evaluate", "--data", str(world), "--as-of", "2026-01-06"])
    assert both.exit_code == 2
    with pytest.raises(EvaluationError, match="there is no model 'bert'"):
        runner.invoke(app, ["evaluate", "--data", str(world), "--models", "bert"], catch_exceptions=False)
    with pytest.raises(EvaluationError, match="the reference 'als' is not among the models"):
        runner.invoke(
            app,
            ["evaluate", "--data", str(world), "--models", "popular,ease", "--reference", "als"],
            catch_exceptions=False,
        )


@pytest.mark.local
def test_what_is_in_production_is_evaluated_on_the_database_and_logged(
    runner: CliRunner, world: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"model_name": "evaluated"})
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTAKU_MODEL_NAME", settings.model_name)
    ingested = runner.invoke(app, ["ingest", str(world), "--hold-back", "0"], catch_exceptions=False)
    assert ingested.exit_code == 0, ingested.output
    registry = open_registry(settings)
    tiny_recommender().save(tmp_path / "model")
    for number in (1, 2):
        registry.register_model(registry.start_run(f"run-{number}"), tmp_path / "model", f"run-{number}")
    registry.point_alias(PRODUCTION, 2)
    numbers = tmp_path / "numbers.json"
    arguments = ("--params", str(tmp_path / "params.json"), "--json", str(numbers), "--mlflow", "--max-users", "8")
    (tmp_path / "params.json").write_text(json.dumps({"als": {"n_factors": 4, "n_iterations": 1}}))
    told = evaluate(runner, *arguments)
    assert list(json.loads(numbers.read_text())["models"]) == ["popular", "item-knn", "als", "ease", "v2"]
    run_key = told.split("Logged to MLflow as ")[1].split(".")[0]
    # The same again is the same run.
    assert run_key in evaluate(runner, *arguments)
    assert list(json.loads(numbers.read_text())["models"])[-1] == "v2"
    client = MlflowClient(tracking_uri=settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("retrain_model")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{run_key}'")
    assert len(runs) == 1
    assert runs[0].info.status == "FINISHED"
    assert 0 <= runs[0].data.metrics["v2.ndcg_at_10"] <= 1
    stored = json.loads(registry.read_artifact(runs[0].info.run_id, "evaluation.json"))
    assert stored["models"].keys() == json.loads(numbers.read_text())["models"].keys()
    one = evaluate(runner, "--models", "popular", "--version", "1", "--as-of", "2026-01-06", "--max-users", "4")
    assert "v1" in one
