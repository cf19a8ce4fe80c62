"""Evaluation users, which targets are discoveries, and how lists close their ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys.data.splits import TRAIN, VALIDATION, assign_groups, select_group
from recsys.evaluation.evaluation_set import (
    EvaluationData,
    build_evaluation_set,
    close_ranks,
    drop_known,
    drop_unshown,
    find_known,
    find_relevant,
)
from recsys.gate.metrics import EMPTY
from tests.factories import tiny_world

FRANCHISES = np.array([0, 0, 1, 2, 2])
HISTORY = csr_matrix([[9, 0, 0, 0, 0], [0, 0, 0, 0, 3], [0, 0, 0, 0, 0]])


def test_popularity_comes_from_the_training_users_alone() -> None:
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny")
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    eval_set = build_evaluation_set(world, training, VALIDATION)
    assert set(assign_groups(eval_set.users.user_ids)) == {VALIDATION}
    assert eval_set.item_counts.tolist() == np.asarray((training > 0).sum(axis=0)).ravel().tolist()
    assert eval_set.item_likes.tolist() == np.asarray((training >= 7).sum(axis=0)).ravel().tolist()
    assert not eval_set.arrived.any()


def test_a_franchise_is_known_by_any_of_its_titles_liked_or_not() -> None:
    expected = [[1, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert find_known(HISTORY, FRANCHISES).astype(int).tolist() == expected


def test_a_discovery_is_a_liked_target_of_an_unknown_franchise() -> None:
    targets = csr_matrix([[0, 10, 8, 6, 0], [0, 0, 7, 9, 0], [7, 0, 0, 0, 0]])
    left = drop_known(targets, find_known(HISTORY, FRANCHISES))
    assert find_relevant(left).toarray().astype(int).tolist() == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]


def test_titles_that_may_not_be_shown_make_room() -> None:
    ranked = np.array([[4, 0, 2, 1], [3, 2, EMPTY, EMPTY]])
    unshown = csr_matrix([[0, 0, 0, 0, 5], [0, 0, 5, 0, 0]])
    assert drop_unshown(ranked, unshown, 2).tolist() == [[0, 2], [3, EMPTY]]


@given(data=st.data(), depth=st.integers(1, 12), k=st.integers(1, 12))
def test_ranks_close_as_in_a_list(data: st.DataObject, depth: int, k: int) -> None:
    lists = data.draw(st.lists(st.permutations(range(12)), min_size=1, max_size=4))
    lengths = [data.draw(st.integers(0, depth)) for _ in lists]
    ranked = np.full((len(lists), depth), EMPTY)
    for row, (positions, length) in enumerate(zip(lists, lengths, strict=True)):
        ranked[row, :length] = positions[:length]
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=ranked.size, max_size=ranked.size))).reshape(
        ranked.shape
    )
    closed = close_ranks(ranked, kept, k)
    for row in range(len(lists)):
        slow = [item for item, stays in zip(ranked[row], kept[row], strict=True) if stays and item != EMPTY][:k]
        assert closed[row].tolist() == slow + [EMPTY] * (k - len(slow))


@pytest.mark.parametrize("group", [TRAIN, VALIDATION])
def test_no_test_user_is_in_another_evaluation_set(group: str) -> None:
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny")
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    others = build_evaluation_set(world, training, group).users.user_ids
    assert not set(others) & set(build_evaluation_set(world, training).users.user_ids)
