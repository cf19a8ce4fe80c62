"""A user is scored on several hidden fifths and counts once, with the mean."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.data.splits import TEST, TRAIN, select_group
from recsys.data.users import build_users
from recsys.evaluation.evaluate import evaluate_generator, evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationData, EvaluationSet, build_evaluation_set
from recsys.exceptions import SchemaMismatchError
from recsys.retrieval.item_item import Ease
from tests.factories import tiny_recommender, tiny_world

N_HIDINGS = 5
NOT_AVERAGED = {"scoring_p95_ms"}


def open_set(n_hidings: int = N_HIDINGS) -> EvaluationSet:
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[::4], "tiny")
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    return build_evaluation_set(world, training, n_hidings=n_hidings)


def split(eval_set: EvaluationSet) -> list[EvaluationSet]:
    """Return one evaluation set for each hiding."""
    return [replace(eval_set, users=users, others=()) for users in eval_set.hidings]


def test_the_hidings_hide_other_ratings_of_the_same_users() -> None:
    eval_set, (catalog, interactions) = open_set(), tiny_world()
    assert len(eval_set.hidings) == N_HIDINGS
    for variant, users in enumerate(eval_set.hidings):
        expected = build_users(select_group(interactions, TEST), catalog, variant=variant)
        assert users.user_ids.tolist() == eval_set.users.user_ids.tolist()
        assert (users.targets != expected.targets).nnz == 0
        assert users.history.multiply(users.targets).nnz == 0
    hidden = [set(zip(*users.targets.nonzero(), strict=True)) for users in eval_set.hidings]
    assert all(hidden[0] != other for other in hidden[1:])


@pytest.mark.parametrize("kind", ["recommender", "generator"])
def test_a_users_value_is_the_mean_over_the_hidings(kind: str) -> None:
    eval_set = open_set()
    if kind == "recommender":
        model = tiny_recommender()
        together, *apart = (evaluate_recommender("m", model, found) for found in (eval_set, *split(eval_set)))
        assert together.rating_error is not None
        errors = [one.rating_error for one in apart if one.rating_error is not None]
        assert together.rating_error.tolist() == pytest.approx(np.mean(errors, axis=0).tolist())
        assert together.reliability == apart[0].reliability
    else:
        catalog, interactions = tiny_world()
        ease = Ease().fit(select_group(interactions, TRAIN).to_matrix(catalog), catalog)
        together, *apart = (evaluate_generator(ease, found) for found in (eval_set, *split(eval_set)))
    for name, values in together.metrics.items():
        for row, value in enumerate(values):
            found = [one.metrics[name][row] for one in apart if not np.isnan(one.metrics[name][row])]
            assert value == pytest.approx(np.mean(found) if found else np.nan, nan_ok=True), name
    for fact in set(together.facts) - NOT_AVERAGED:
        assert together.facts[fact] == pytest.approx(np.mean([one.facts[fact] for one in apart])), fact
    assert together.ranked.tolist() == apart[0].ranked.tolist()


def test_the_user_stays_the_unit() -> None:
    eval_set = open_set()
    card = evaluate_recommender("m", tiny_recommender(), eval_set).to_scorecard(eval_set)
    assert card.user_ids.tolist() == open_set(1).users.user_ids.tolist()
    assert card.ndcg.shape == card.user_ids.shape


def test_more_hidings_tell_models_apart_with_less_noise() -> None:
    catalog, interactions = tiny_world()
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    models = [Ease().fit(training, catalog), Ease().fit(training[: training.shape[0] // 2], catalog)]
    spreads = []
    for n_hidings in (1, N_HIDINGS):
        eval_set = open_set(n_hidings)
        ours, theirs = (evaluate_generator(model, eval_set).metrics["ndcg_at_10"] for model in models)
        spreads.append(float(np.nanstd(ours - theirs)))
    assert spreads[1] < 0.8 * spreads[0]


def test_hidings_of_other_users_are_refused() -> None:
    eval_set = open_set()
    with pytest.raises(SchemaMismatchError, match="other users than the first"):
        replace(eval_set, users=eval_set.users.select(np.arange(2)))
    with pytest.raises(SchemaMismatchError, match="n_hidings=1"):
        replace(eval_set, unshown=eval_set.users.history)
    assert len(eval_set.select(np.arange(2)).others[0].user_ids) == 2
