"""A search tries the default first, goes on where it stood, and sees validation users only."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.data.splits import TRAIN, VALIDATION, assign_groups, select_group
from recsys.evaluation.evaluate import evaluate_generator
from recsys.evaluation.evaluation_set import EvaluationData, build_evaluation_set
from recsys.evaluation.tuning import read_best_params, tune
from recsys.exceptions import ArtifactError, EvaluationError
from recsys.retrieval.item_item import PUBLISHED_EASE
from tests.factories import tiny_world


def search(name: str, journal: Path, n_trials: int, told: list[Any] | None = None) -> dict[str, Any]:
    catalog, interactions = tiny_world()
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    eval_set = build_evaluation_set(
        EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny"), training, VALIDATION
    )
    assert set(assign_groups(eval_set.users.user_ids)) == {VALIDATION}

    def note(number: int, value: float, params: Any) -> None:
        if told is not None:
            told.append((number, value, params))

    return tune(name, training, catalog, eval_set, n_trials=n_trials, seed=0, journal=journal, on_trial=note)


def test_the_default_is_tried_first_and_the_best_is_kept(tmp_path: Path) -> None:
    told: list[Any] = []
    found = search("ease", tmp_path / "journal", 4, told)
    assert [number for number, _, _ in told] == [0, 1, 2, 3]
    assert told[0][2] == {"regularisation": PUBLISHED_EASE.regularisation, "n_kept": PUBLISHED_EASE.n_kept}
    assert found["default_value"] == told[0][1]
    assert found["value"] == max(value for _, value, _ in told)
    assert found["params"] == next(params for _, value, params in told if value == found["value"])
    assert len({params["regularisation"] for _, _, params in told}) == 4
    catalog, interactions = tiny_world()
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    eval_set = build_evaluation_set(
        EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny"), training, VALIDATION
    )
    best = replace(PUBLISHED_EASE, **found["params"]).fit(training, catalog)
    again = evaluate_generator(best, eval_set).metrics["ndcg_at_10"]
    assert float(np.nanmean(again)) == pytest.approx(found["value"])


def test_a_search_goes_on_where_it_stood(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    first, later = [], []
    search("item_knn", journal, 2, first)
    found = search("item_knn", journal, 4, later)
    assert (len(first), len(later)) == (2, 2)
    assert found["n_trials"] == 4
    assert [trial["value"] for trial in found["trials"][:2]] == [value for _, value, _ in first]
    finished: list[Any] = []
    assert search("item_knn", journal, 4, finished)["params"] == found["params"]
    assert finished == []


def test_models_share_a_journal(tmp_path: Path) -> None:
    ease, knn = (search(name, tmp_path / "journal", 1) for name in ("ease", "item_knn"))
    assert set(ease["params"]) != set(knn["params"])


def test_what_cannot_be_tuned_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        EvaluationError,
        match=r"'popular' has no hyper-parameters to tune; choose among (?!.*popular).*\bals, item-knn, lightfm\b",
    ):
        search("popular", tmp_path / "journal", 1)


def test_parameters_are_read_from_both_spellings(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps({"als": {"params": {"alpha": 3.0}, "value": 0.5}, "ease": {"regularisation": 9.0}}))
    assert read_best_params(path) == {"als": {"alpha": 3.0}, "ease": {"regularisation": 9.0}}
    for content in ("[]", "{", '{"als": 3}'):
        path.write_text(content)
        with pytest.raises(ArtifactError, match=r"tuned\.json holds no hyper-parameters by model"):
            read_best_params(path)
