"""The cold corners: who is in them, what is known there, and what was watched stays out of every list."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.columns import Columns, ItemColumns
from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.cold import (
    GENRES,
    LOW,
    NOTHING,
    WHOLE,
    build_corners,
    hide_titles,
    summarise,
    summon_unrated_jury,
)
from recsys.evaluation.judging import DEEP, judge_generator, judge_recommender
from recsys.evaluation.jury import Jury, World, summon_jury
from recsys.exceptions import EvaluationError
from recsys.retrieval.popular import Popular
from tests.factories import tiny_recommender, tiny_world

SHARE = 0.2


def world_and_jury() -> tuple[World, Jury]:
    catalog, interactions = tiny_world()
    world = World(catalog, interactions, interactions.user_ids[:0], "tiny")
    return world, summon_jury(world, select_group(interactions, TRAIN).to_matrix(catalog))


def test_corners_are_the_same_people_with_less_and_less_known() -> None:
    _, jury = world_and_jury()
    corners = build_corners(jury)
    expected = [WHOLE, "10 ratings", "5 ratings", "2 ratings", "1 rating", GENRES, NOTHING, LOW]
    assert list(corners) == expected
    full = corners[WHOLE].people
    assert (np.diff(full.history.indptr) >= 10).all()
    before = full.history
    for name, length in (("10 ratings", 10), ("5 ratings", 5), ("2 ratings", 2), ("1 rating", 1), (NOTHING, 0)):
        people = corners[name].people
        assert people.user_ids.tolist() == full.user_ids.tolist()
        assert (people.targets != full.targets).nnz == 0
        assert set(np.diff(people.history.indptr)) == {length}
        # Each is a part of the one before, with the same ratings.
        assert (people.history.multiply(before > 0) != people.history).nnz == 0
        before = people.history
    assert corners[GENRES].people.history.nnz == 0
    assert set(corners[GENRES].people.tastes.sum(axis=1)) == {3.0}
    assert corners[NOTHING].people.tastes.sum() == 0
    low = corners[LOW].people.history
    assert low.data.max() < 7
    assert (np.diff(low.indptr) > 0).all()


def test_what_is_popular_is_so_in_every_corner() -> None:
    world, jury = world_and_jury()
    training = select_group(world.interactions, TRAIN).to_matrix(world.catalog)
    model = Popular().fit(training, world.catalog)
    corners = {name: found for name, found in build_corners(jury).items() if name != LOW}
    lists = {name: judge_generator(model, found, depth=DEEP).ranked.tolist() for name, found in corners.items()}
    assert all(found == lists[WHOLE] for found in lists.values())


def test_every_corner_has_a_full_list_without_anything_watched() -> None:
    _, jury = world_and_jury()
    for name, corner in build_corners(jury).items():
        judgement = judge_recommender("ranker", tiny_recommender(), corner, depth=20)
        assert judgement.facts["short_list_share"] == 0.0, name
        for row, ranked in enumerate(judgement.ranked):
            assert corner.unshown is not None
            assert not set(ranked) & set(corner.unshown[row].indices), name
        assert summarise(judgement)["ndcg_at_10"]["n"] > 0


def test_stated_genres_change_the_list_of_somebody_unknown() -> None:
    _, jury = world_and_jury()
    corners = build_corners(jury)
    stated, silent = (
        judge_recommender("ranker", tiny_recommender(), corners[name], depth=20) for name in (GENRES, NOTHING)
    )
    assert stated.ranked.tolist() != silent.ranked.tolist()


def test_people_with_short_histories_alone_make_no_corners() -> None:
    _, jury = world_and_jury()
    short = replace(jury.people, history=csr_matrix(jury.people.history.shape))
    with pytest.raises(EvaluationError, match="nobody among the judges has 10 ratings"):
        build_corners(replace(jury, people=short))


def test_hidden_titles_are_as_good_as_new() -> None:
    world, _ = world_and_jury()
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


def test_the_unrated_jury_wants_hidden_titles_and_knows_none() -> None:
    world, jury = world_and_jury()
    _, hidden = hide_titles(world, SHARE)
    unrated = summon_unrated_jury(jury, hidden)
    assert not hidden[unrated.people.history.indices].any()
    assert hidden[unrated.people.targets.indices].all()
    assert unrated.people.targets.data.min() >= 7
    rows = np.searchsorted(jury.people.user_ids, unrated.people.user_ids)
    everything = (jury.people.history + jury.people.targets)[rows]
    assert unrated.people.targets.nnz == ((everything.data >= 7) & hidden[everything.indices]).sum()


def test_nobody_who_likes_a_hidden_title_is_told() -> None:
    world, jury = world_and_jury()
    with pytest.raises(EvaluationError, match="nobody among the judges likes a hidden title"):
        summon_unrated_jury(jury, np.zeros(len(world.catalog), dtype=np.bool_))
