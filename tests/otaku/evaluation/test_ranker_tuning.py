"""The trees of the ranker are tuned on validation users, and the search is logged to MLflow."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from otaku.evaluation.harness import EvaluationHarness, build_harness
from otaku.evaluation.ranker_tuning import SPACE, log_study, tune_ranker
from recsys.connections import open_registry
from recsys.data.splits import VALIDATION, assign_groups
from recsys.evaluation.evaluation_set import EvaluationData
from recsys.ranking.params import HeadParams
from recsys.retrieval.spec import ModelInputs
from recsys.settings import Settings
from tests.factories import tiny_world
from tests.otaku.evaluation.test_harness import few_models, quick_preset, texts


def make_harness(scratch: Path) -> EvaluationHarness:
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny")
    harness = build_harness(world, ModelInputs(texts), group=VALIDATION, scratch=scratch)
    return replace(harness, preset=quick_preset(), first_stage=few_models)


def search(work: Path, n_trials: int, told: list[Any]) -> dict[str, Any]:
    harness = make_harness(work)
    assert set(assign_groups(harness.eval_set.users.user_ids)) == {VALIDATION}
    return tune_ranker(
        harness,
        n_trials=n_trials,
        seed=0,
        journal=work / "journal",
        on_trial=lambda number, value, params: told.append((number, value, dict(params))),
    )


def test_the_preset_is_tried_first_and_a_search_goes_on(tmp_path: Path) -> None:
    told: list[Any] = []
    search(tmp_path, 2, told)
    found = search(tmp_path, 3, told)
    assert [number for number, _, _ in told] == [0, 1, 2]
    head: HeadParams = quick_preset().relevance
    assert told[0][2] == {name: getattr(head, name) for name in SPACE}
    assert found["default_value"] == told[0][1]
    assert found["value"] == max(value for _, value, _ in told)
    # Other trees give other lists: the search does look at what it changes.
    assert len({value for _, value, _ in told}) > 1
    # The preset as it stands is worth what a ranker of this preset is worth.
    harness = make_harness(tmp_path)
    evaluated = harness.evaluate("ranker", harness.make("ranker")).metrics["ndcg_at_10"]
    assert found["default_value"] == pytest.approx(np.nanmean(evaluated))


def test_a_search_is_one_run_with_every_trial(tmp_path: Path, settings: Settings) -> None:
    found = search(tmp_path, 2, [])
    registry = open_registry(settings)
    run_key = log_study(registry, "ranker", found, 0)
    assert log_study(registry, "ranker", found, 0) == run_key
    client = MlflowClient(settings.mlflow_tracking_uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = [run for run in client.search_runs(experiments) if run.info.run_name == run_key]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["best"] == pytest.approx(found["value"])
    assert run.data.params["learning_rate"] == str(found["params"]["learning_rate"])
    kept = json.loads(registry.read_artifact(run.info.run_id, "trials.json"))
    assert kept["trials"] == found["trials"]
    assert registry.read_artifact(run.info.run_id, "trials.png").startswith(b"\x89PNG")
