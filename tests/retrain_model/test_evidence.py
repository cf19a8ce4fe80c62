"""What a version carries, and that it can be rebuilt from that."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from otaku.cli import app
from recsys.connections import open_registry, open_store
from recsys.exceptions import RetrainError, UnknownVersionError
from recsys.settings import Settings
from recsys.storage.registry import Registry
from retrain_model import reproduce as rebuilding
from retrain_model.context import RetrainContext
from retrain_model.environment import compute_lock_hash
from retrain_model.job import open_context
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.worlds import read_traces, to_environment

pytestmark = [pytest.mark.local, pytest.mark.slow]

FILES = {
    "recipe.json",
    "training.json",
    "model_card.md",
    "evidence/per_user.parquet",
    "evidence/learning_curves.png",
    "evidence/feature_importance.png",
    "evidence/rating_calibration.png",
    "gate/decision.json",
    "gate/differences.png",
}


def read(settings: Settings, name: str) -> bytes:
    registry = open_registry(settings)
    return registry.read_artifact(registry.read_version(1).run_id, name)


@contextmanager
def context_of(settings: Settings) -> Iterator[RetrainContext]:
    with open_context(SUNDAY, settings=settings) as context:
        yield context


def test_a_version_carries_its_evidence(undisturbed: Settings) -> None:
    found = {name: read(undisturbed, name) for name in FILES}
    assert all(found[name].startswith(b"\x89PNG") for name in FILES if name.endswith(".png"))
    per_user = pd.read_parquet(io.BytesIO(found["evidence/per_user.parquet"]))
    assert {"challenger", "popular", "als", "ease", "item_knn", "lightfm"} <= set(per_user["model"])
    assert {"user_id", "ndcg_at_10", "mae", "arrived", "generated", "n_history"} <= set(per_user.columns)

    recipe = json.loads(found["recipe.json"])
    assert recipe["environment"]["lock"] == compute_lock_hash()
    assert (recipe["seed"], recipe["environment"]["n_threads"]) == (0, 2)
    assert set(recipe["files"]) == {"snapshot", "embed_text", "fit_retrieval", "train_ranker"}
    version = open_registry(undisturbed).read_version(1)
    run = MlflowClient(tracking_uri=undisturbed.mlflow_tracking_uri).get_run(version.run_id)
    assert run.data.tags["code.lock_sha256"] == recipe["environment"]["lock"]
    assert run.data.tags["code.version"] == recipe["code"]["recsys"]
    (dataset,) = run.inputs.dataset_inputs
    # MLflow keeps a dataset once: with the same digest in another bucket, the address is the first one's.
    addresses = (json.loads(dataset.dataset.source)["uri"], recipe["snapshot"])
    assert len({address.partition("/snapshots/")[2] for address in addresses}) == 1, addresses
    assert dataset.dataset.digest in recipe["snapshot"]


def test_the_card_tells_the_same_numbers(undisturbed: Settings) -> None:
    card = read(undisturbed, "model_card.md").decode()
    for heading in (
        "Intended use",
        "Data",
        "Protocol",
        "Metrics",
        "Metrics by slice",
        "Decision of the gate",
        "Limits",
    ):
        assert f"\n## {heading}\n" in card
    per_user = pd.read_parquet(io.BytesIO(read(undisturbed, "evidence/per_user.parquet")))
    own = per_user[per_user["model"] == "challenger"]
    assert f"| **this model** | {len(own)} | {own['ndcg_at_10'].mean():.4f} (" in card
    arrived = own[own["arrived"]]
    assert f"| new arrivals | {len(arrived)} | " in card
    assert json.loads(read(undisturbed, "gate/decision.json"))["criteria"][0]["sentence"] in card
    description = open_registry(undisturbed).read_version(1).description
    assert description.splitlines()[-1] == "Model card: model_card.md among the artefacts of its run."


@pytest.fixture
def runner(undisturbed: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    for name, value in to_environment(undisturbed).items():
        monkeypatch.setenv(name, value)
    levels = {name: logging.getLogger(name).level for name in ("otaku", "recsys", "retrain_model")}
    yield CliRunner()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_rebuilt_version_predicts_the_same(undisturbed: Settings, runner: CliRunner) -> None:
    before = read_traces(undisturbed)
    result = runner.invoke(app, ["models", "reproduce", "1", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["identical"], found["largest_difference"], found["n_users"]) == (True, 0.0, 100)
    # Whoever edits the code between the two fits is told so; a file that came out otherwise would be named too.
    assert all(line.startswith("code (commit)") for line in found["differences"]), found["differences"]
    assert read_traces(undisturbed) == before


def test_what_differs_is_named(undisturbed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another seed the rebuild is another model, and the report says where it parted."""
    original = rebuilding.read_recipe

    def altered(registry: Registry, version: int) -> dict[str, Any]:
        recipe = original(registry, version)
        recipe["environment"] |= {"lock": "another", "packages": {"lightgbm": "0.1"}}
        return recipe | {"seed": 1}

    monkeypatch.setattr(rebuilding, "read_recipe", altered)
    with context_of(undisturbed) as context:
        found = rebuilding.reproduce(context, 1)
    assert not found.identical
    assert found.largest_difference > 0
    text = "\n".join(found.differences)
    assert "package lightgbm: 0.1 then" in text
    assert "lock: another then" in text
    assert found.differences[-1].startswith("first file that differs: fit_retrieval/fold-0/als.npz")
    assert open_store(undisturbed).list_keys("reproduce/1/")


def test_a_version_that_cannot_be_rebuilt_says_why(undisturbed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with context_of(undisturbed) as context:
        with pytest.raises(UnknownVersionError, match="no version 99"):
            rebuilding.reproduce(context, 99)
        monkeypatch.setattr("retrain_model.evidence.RECIPE", "no-recipe.json")
        with pytest.raises(RetrainError, match="no readable recipe"):
            rebuilding.reproduce(context, 1)
