"""Models by name, their lists for held-out users, and the files of an evaluation."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from otaku.evaluation.harness import EvaluationHarness, build_harness, select_evaluation_users
from otaku.evaluation.run import Evaluation, compute_run_key, evaluate_heldout, write_json, write_plots
from otaku.evaluation.tables import build_cold_table, build_tables, build_unrated_table
from recsys.data.interactions import Interactions
from recsys.data.splits import TEST, TRAIN, assign_groups
from recsys.evaluation.evaluation_set import EvaluationData
from recsys.exceptions import EvaluationError
from recsys.ranking.params import HeadParams, Preset, get_preset
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.item_item import ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.spec import ModelInputs
from recsys.types import Floats
from tests.factories import tiny_recommender, tiny_world

QUICK = {"als": {"n_factors": 8, "n_iterations": 3}}


def texts() -> Floats:
    return np.random.default_rng(0).normal(size=(len(tiny_world()[0]), 384)).astype(np.float32)


def quick_preset() -> Preset:
    def small(head: HeadParams) -> HeadParams:
        return replace(head, n_estimators=15, num_leaves=7, min_data_in_leaf=5)

    preset = get_preset("default")
    return replace(preset, n_per_model=20, relevance=small(preset.relevance), rating=small(preset.rating))


def few_models(inputs: ModelInputs) -> list[CandidateGenerator]:
    als = Als(n_factors=8, n_iterations=3, seed=inputs.seed)
    lightfm = LightFm(n_components=8, n_epochs=2, seed=inputs.seed)
    return [EaseMixture(), als, ItemKnn(), lightfm, Popular()]


def make_harness(scratch: Path | None = None, interactions: Interactions | None = None) -> EvaluationHarness:
    catalog, everything = tiny_world()
    world = EvaluationData(catalog, interactions or everything, everything.user_ids[::4], "tiny")
    inputs = ModelInputs(texts, params=QUICK)
    harness = build_harness(world, inputs, scratch=scratch, open_version=lambda _: tiny_recommender())
    return replace(harness, preset=quick_preset(), first_stage=few_models)


@cache
def evaluate() -> Evaluation:
    names = ["popular", "item-kNN", "als", "ranker", "ranker-without-franchise", "v1"]
    return evaluate_heldout(make_harness(), names, "item-kNN", cold=True, describe={"data": "tiny"})


def test_every_model_is_evaluated_on_the_same_test_users() -> None:
    evaluation = evaluate()
    names = ["popular", "item-knn", "als", "ranker", "ranker-without-franchise", "v1"]
    assert [result.name for result in evaluation.results] == names
    table = evaluation.per_user()
    assert set(assign_groups(table["user_id"].unique())) == {TEST}
    assert table.groupby("model")["user_id"].nunique().nunique() == 1
    found = evaluation.to_dict()
    assert found["reference"] == "item-knn"
    assert found["protocol"]["n_test_users"] == found["n_users"] == table["user_id"].nunique()
    for name in names:
        assert {"ndcg_at_10", "recall_at_100", "discovery_ndcg_at_10", "diversity"} <= set(
            found["models"][name]["metrics"]
        )
        assert found["models"][name]["facts"]["fit_seconds"] >= 0
    assert "mae" in found["models"]["ranker"]["metrics"]
    assert "mae" not in found["models"]["als"]["metrics"]
    assert "new arrivals" in found["models"]["als"]["slices"]
    json.dumps(found, allow_nan=False)


def test_cold_start_slices_and_unrated_titles_have_a_number_for_every_model() -> None:
    evaluation = evaluate()
    assert evaluation.cold is not None
    assert evaluation.unrated is not None
    assert set(evaluation.cold["models"]) == {result.name for result in evaluation.results}
    for slices in evaluation.cold["models"].values():
        assert {"whole history", "1 rating", "only genres", "nothing", "only low ratings"} <= set(slices)
    # A version was fitted with those ratings, so it has nothing to say about titles without any.
    assert set(evaluation.unrated["models"]) == set(evaluation.cold["models"]) - {"v1"}
    for metrics in evaluation.unrated["models"].values():
        assert metrics["recall_at_10_among_hidden"]["mean"] >= metrics["recall_at_10"]["mean"]


def test_tables_hold_every_model_and_the_best_comes_first() -> None:
    evaluation = evaluate()
    assert evaluation.cold is not None
    assert evaluation.unrated is not None
    tables = build_tables(evaluation.comparison)
    accuracy = list(tables[0].columns[0].cells)
    means = [evaluation.comparison["models"][name]["metrics"]["ndcg_at_10"]["mean"] for name in accuracy]
    assert means == sorted(means, reverse=True)
    assert set(accuracy) == {result.name for result in evaluation.results}
    assert "item-knn" not in list(tables[-1].columns[0].cells)
    for table in (*tables, build_cold_table(evaluation.cold), build_unrated_table(evaluation.unrated)):
        assert all("\n" in cell for column in table.columns[1:] for cell in column.cells if cell != "-")


def test_files_are_written_and_again_the_same(tmp_path: Path) -> None:
    evaluation = evaluate()
    for number in (0, 1):
        write_json(evaluation, tmp_path / f"{number}.json")
        paths = write_plots(evaluation, tmp_path / f"plots-{number}")
        assert {path.name for path in paths} == {"accuracy.svg", "lists.svg", "slices.svg", "differences.svg"}
    assert json.loads((tmp_path / "0.json").read_text()) == evaluation.to_dict()
    for path in (tmp_path / "plots-0").iterdir():
        assert path.read_bytes() == (tmp_path / "plots-1" / path.name).read_bytes()


def test_a_run_is_named_by_what_was_evaluated() -> None:
    evaluation = evaluate()
    other = replace(evaluation, protocol={**evaluation.protocol, "seed": 1})
    assert compute_run_key(evaluation) == compute_run_key(replace(evaluation))
    assert compute_run_key(evaluation) != compute_run_key(other)


def test_first_stages_and_tables_are_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_harness(tmp_path)
    ranker = first.make("ranker")
    for name in ("cross_fit", "build_training_data"):
        monkeypatch.setattr(f"otaku.evaluation.harness.{name}", lambda *_, **__: pytest.fail("made again"))
    again = make_harness(tmp_path).make("ranker")
    lists = [first.evaluate("ranker", model).ranked.tolist() for model in (ranker, again)]
    assert lists[0] == lists[1]
    with pytest.raises(pytest.fail.Exception, match="made again"):
        replace(make_harness(tmp_path), refit=True).make("ranker")


def test_tables_that_were_left_half_written_are_made_anew(tmp_path: Path) -> None:
    first = make_harness(tmp_path)
    first.make("ranker")
    (folder,) = tmp_path.glob("training data-*")
    (folder / "done").unlink()
    (folder / "train-rating-labels.npy").write_bytes(b"half of it")
    lists = [first.evaluate("ranker", make_harness(tmp_path).make("ranker")).ranked.tolist() for _ in range(2)]
    assert lists[0] == lists[1]
    assert (folder / "done").exists()


def test_a_ranker_without_a_group_is_the_one_that_never_had_it(tmp_path: Path) -> None:
    whole = make_harness(tmp_path)
    whole.make("ranker")
    groups = tuple(group for group in whole.preset.groups if group != "habits")
    never = replace(make_harness(), preset=replace(whole.preset, groups=groups))
    models = make_harness(tmp_path).make("ranker-without-habits"), never.make("ranker")
    lists = [whole.evaluate("ranker", model).ranked.tolist() for model in models]
    assert lists[0] == lists[1]


def test_no_rating_of_a_test_user_reaches_a_fit() -> None:
    _, interactions = tiny_world()
    table = interactions.table.copy()
    tested = assign_groups(table["user_id"]) == TEST
    table.loc[tested, "rating"] = 11 - table.loc[tested, "rating"]
    before, after = make_harness(), make_harness(interactions=Interactions(table))
    for name in ("popular", "item_knn", "als", "ranker"):
        lists = [before.evaluate(name, harness.make(name)).ranked.tolist() for harness in (before, after)]
        assert lists[0] == lists[1], name


def test_unknown_names_are_told_with_those_that_exist() -> None:
    harness = make_harness()
    for name in ("bert", "ranker-without-luck", "v"):
        with pytest.raises(EvaluationError, match=r"choose among ease-mixture, .*, ranker, v1 for version 1"):
            harness.check(name)
    with pytest.raises(EvaluationError, match=r"there is no model 'v3'; choose among ease-mixture, [^1]*ranker$"):
        replace(harness, open_version=None).check("v3")


def test_without_training_users_there_is_nothing_to_learn_from() -> None:
    _, interactions = tiny_world()
    users = interactions.user_ids
    with pytest.raises(EvaluationError, match="no training users"):
        make_harness(interactions=interactions.select_users(users[assign_groups(users) != TRAIN]))


def test_a_smaller_evaluation_set_is_a_part_of_a_larger_one() -> None:
    eval_set = make_harness().eval_set
    few, more = (select_evaluation_users(eval_set, n_users).users.user_ids for n_users in (4, 8))
    assert set(few) < set(more) < set(eval_set.users.user_ids)
    assert few.tolist() == sorted(few)
