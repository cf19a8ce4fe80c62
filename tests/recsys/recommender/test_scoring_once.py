"""An evaluation computes scores once per history, and its answers stay the same."""

from unittest.mock import patch

import numpy as np

from recsys.recommender.scoring_once import prepare_for_evaluation
from recsys.retrieval.first_stage import FirstStage
from tests.factories import tiny_recommender, tiny_world


def test_answers_are_the_same_and_scores_are_computed_once() -> None:
    catalog, interactions = tiny_world()
    model, history = tiny_recommender(), interactions.to_matrix(catalog)[:30]
    tastes = np.zeros((30, len(catalog.genres)), dtype=np.float32)
    targets = [np.array([row % 40, 45]) for row in range(30)]
    prepared = prepare_for_evaluation(model)
    with patch.object(FirstStage, "score", autospec=True, side_effect=FirstStage.score) as scored:
        ratings, lists = prepared.rate(history, tastes, targets), prepared.rank(history, tastes, k=10)
        assert scored.call_count == 1
        prepared.rank(history[:5], k=10)
        assert scored.call_count == 2
    assert ratings.tolist() == model.rate(history, tastes, targets).tolist()
    for (ours, scores), (theirs, expected) in zip(lists, model.rank(history, tastes, k=10), strict=True):
        assert ours.tolist() == theirs.tolist()
        assert scores.tolist() == expected.tolist()
