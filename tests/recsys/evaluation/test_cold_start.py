"""The cold-start slices: who is in them, what is known there, and what was watched stays out of every list."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.columns import Columns, ItemColumns
from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.cold_start import (
    GENRES,
    LOW,
    NOTHING,
    WHOLE,
    build_cold_start_slices,
    build_unrated_evaluation_set,
    hide_titles,
    summarise,
)
from recsys.evaluation.evaluate import DEEP, evaluate_generator, evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationData, EvaluationSet, build_evaluation_set
from recsys.exceptions import EvaluationError
from recsys.retrieval.popular import Popular
from tests.factories import tiny_recommender, tiny_world

SHARE = 0.2


def data_and_evaluation_set() -> tuple[EvaluationData, EvaluationSet]:
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny")
    return world, build_evaluation_set(world, select_group(interactions, TRAIN).to_matrix(catalog))


def test_corners_are_the_same_users_with_less_and_less_known() -> None:
    _, eval_set = data_and_evaluation_set()
    slices = build_cold_start_slices(eval_set)
    expected = [WHOLE, "10 ratings", "5 ratings", "2 ratings", "1 rating", GENRES, NOTHING, LOW]
    assert list(slices) == expected
    full = slices[WHOLE].users
    assert (np.diff(full.history.indptr) >= 10).all()
    before = full.history
    for name, length in (("10 ratings", 10), ("5 ratings", 5), ("2 ratings", 2), ("1 rating", 1), (NOTHING, 0)):
        users = slices[name].users
        assert users.user_ids.tolist() == full.user_ids.tolist()
        assert (users.targets != full.targets).nnz == 0
        assert set(np.diff(users.history.indptr)) == {length}
        # Each is a part of the one before, with the same ratings.
        assert (users.history.multiply(before > 0) != users.history).nnz == 0
        before = users.history
    assert slices[GENRES].users.history.nnz == 0
    assert set(slices[GENRES].users.tastes.sum(axis=1)) == {3.0}
    assert slices[NOTHING].users.tastes.sum() == 0
    low = slices[LOW].users.history
    assert low.data.max() < 7
    assert (np.diff(low.indptr) > 0).all()


def test_what_is_popular_is_so_in_every_corner() -> None:
    world, eval_set = data_and_evaluation_set()
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    model = Popular().fit(training, world.catalog)
    slices = {name: found for name, found in build_cold_start_slices(eval_set).items() if name != LOW}
    lists = {name: evaluate_generator(model, found, depth=DEEP).ranked.tolist() for name, found in slices.items()}
    assert all(found == lists[WHOLE] for found in lists.values())


def test_every_corner_has_a_full_list_without_anything_watched() -> None:
    _, eval_set = data_and_evaluation_set()
    for name, slice_name in build_cold_start_slices(eval_set).items():
        result = evaluate_recommender("ranker", tiny_recommender(), slice_name, depth=20)
        assert result.facts["short_list_share"] == 0.0, name
        for row, ranked in enumerate(result.ranked):
            assert slice_name.unshown is not None
            assert not set(ranked) & set(slice_name.unshown[row].indices), name
        assert summarise(result)["ndcg_at_10"]["n"] > 0


def test_stated_genres_change_the_list_of_an_unknown_user() -> None:
    _, eval_set = data_and_evaluation_set()
    slices = build_cold_start_slices(eval_set)
    stated, silent = (
        evaluate_recommender("ranker", tiny_recommender(), slices[name], depth=20) for name in (GENRES, NOTHING)
    )
    assert stated.ranked.tolist() != silent.ranked.tolist()


def test_users_with_short_histories_alone_make_no_corners() -> None:
    _, eval_set = data_and_evaluation_set()
    short = replace(eval_set.users, history=csr_matrix(eval_set.users.history.shape))
    with pytest.raises(EvaluationError, match="no evaluation user has 10 ratings"):
        build_cold_start_slices(replace(eval_set, users=short))


def test_hidden_titles_are_as_good_as_new() -> None:
    world, _ = data_and_evaluation_set()
    poorer, hidden = hide_titles(world, SHARE)
    assert 0 < hidden.sum() < len(world.catalog) / 2
    left = world.catalog.positions(poorer.interactions.table[Columns.Item].to_numpy())
    assert not hidden[left].any()
    lost = hidden[world.catalog.positions(world.interactions.table[Columns.Item].to_numpy())].sum()
    assert len(poorer.interactions) == len(world.interactions) - lost
    told = poorer.catalog.items[[ItemColumns.Members, ItemColumns.MeanScore]].isna().all(axis=1).to_numpy()
    assert told.tolist() == hidden.tolist()
    assert poorer.catalog.items[ItemColumns.Title].tolist() == world.catalog.items[ItemColumns.Title].tolist()
    assert hide_titles(world, SHARE)[1].tolist() == hidden.tolist()


def test_the_unrated_evaluation_set_wants_hidden_titles_and_knows_none() -> None:
    world, eval_set = data_and_evaluation_set()
    _, hidden = hide_titles(world, SHARE)
    unrated = build_unrated_evaluation_set(eval_set, hidden)
    assert not hidden[unrated.users.history.indices].any()
    assert hidden[unrated.users.targets.indices].all()
    assert unrated.users.targets.data.min() >= 7
    rows = np.searchsorted(eval_set.users.user_ids, unrated.users.user_ids)
    everything = (eval_set.users.history + eval_set.users.targets)[rows]
    assert unrated.users.targets.nnz == ((everything.data >= 7) & hidden[everything.indices]).sum()


def test_nobody_who_likes_a_hidden_title_is_told() -> None:
    world, eval_set = data_and_evaluation_set()
    with pytest.raises(EvaluationError, match="no evaluation user likes a hidden title"):
        build_unrated_evaluation_set(eval_set, np.zeros(len(world.catalog), dtype=np.bool_))
