"""The work of a list is counted: the same on every machine, under any load."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.evaluate import evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationData, build_evaluation_set
from recsys.gate.decision import Decision
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard
from recsys.ranking.forest_cost import count_mean_splits
from recsys.recommender import Recommender
from recsys.recommender.cost import compute_list_cost
from tests.factories import tiny_recommender, tiny_world


@pytest.fixture
def busy_neighbours() -> Iterator[None]:
    """Keep twice as many processes computing as there are cores."""
    loop = "while True: sum(range(100_000))"
    neighbours = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for process in neighbours:
        process.kill()
        process.wait()


def train(n_trees: int, **params: object) -> tuple[lgb.Booster, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 4))
    labels = rows[:, 0] * rows[:, 1] + rng.normal(size=500)
    return lgb.train({"verbosity": -1, "num_leaves": 12, **params}, lgb.Dataset(rows, labels), n_trees), rows


def test_splits_are_those_on_the_way_to_the_leaves() -> None:
    booster, rows = train(7)
    depths = [
        {node["leaf_index"]: depth for node, depth in walk(tree["tree_structure"])}
        for tree in booster.dump_model()["tree_info"]
    ]
    leaves = np.asarray(booster.predict(rows, pred_leaf=True), dtype=np.int64)
    passed = [[depths[tree][leaf] for tree, leaf in enumerate(row)] for row in leaves]
    assert count_mean_splits(booster) == pytest.approx(np.sum(passed, axis=1).mean())


def walk(node: dict[str, Any], depth: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    if "leaf_index" in node:
        yield node, depth
        return
    for side in ("left_child", "right_child"):
        yield from walk(node[side], depth + 1)


def test_a_tree_of_one_leaf_costs_nothing() -> None:
    booster, _ = train(3, min_data_in_leaf=1000)
    assert count_mean_splits(booster) == 0.0


def test_a_list_costs_candidates_times_splits_and_features() -> None:
    model, (catalog, interactions) = tiny_recommender(), tiny_world()
    history = interactions.to_matrix(catalog)[:7]
    cost = compute_list_cost(model, history)
    n_candidates = np.mean([len(found) for found in model.retriever.retrieve(history, no_tastes(model, 7)).candidates])
    assert cost["candidates_per_list"] == n_candidates
    assert cost["feature_values_per_list"] == n_candidates * len(model.ranker.schema.names)
    assert cost["splits_per_list"] == n_candidates * count_mean_splits(model.ranker.relevance)


def no_tastes(model: Recommender, n_users: int) -> np.ndarray:
    return np.zeros((n_users, len(model.catalog.genres)), dtype=np.float32)


def decide() -> Decision:
    """Score two versions and let the gate decide, as a retraining does."""
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[::4], "tiny")
    eval_set = build_evaluation_set(world, select_group(interactions, TRAIN).to_matrix(catalog), n_hidings=2)
    model = tiny_recommender()
    narrow = replace(model, retriever=replace(model.retriever, n_per_model=5))

    def score(name: str, version: Recommender) -> Scorecard:
        result = evaluate_recommender(name, version, eval_set)
        facts = {**result.facts, **compute_list_cost(version, eval_set.users.history)}
        return replace(result, facts=facts).to_scorecard(eval_set)

    return PromotionGate(min_test_users=5).decide(score("challenger", model), score("champion", narrow))


def test_a_busy_neighbour_changes_nothing_in_a_decision(request: pytest.FixtureRequest) -> None:
    alone = decide()
    request.getfixturevalue("busy_neighbours")
    assert decide().to_dict() == alone.to_dict()
    assert {"splits_per_list", "feature_values_per_list"} <= {found.name for found in alone.guardrails}
