"""Models are judged on the same people, also a champion that knows other titles than the jury."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.people import shorten_histories
from recsys.data.splits import TEST, TRAIN, assign_groups, hash_ids, select_group, split_history
from recsys.evaluation.judging import DEEP, Judgement, K, judge_generator, judge_recommender
from recsys.evaluation.jury import Jury, World, summon_jury
from recsys.evaluation.metrics import EMPTY
from recsys.exceptions import EvaluationError
from recsys.recommender import Recommender
from recsys.recommender.profile import Profile
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.embedding import Als
from recsys.retrieval.item_item import Ease
from recsys.retrieval.popular import Popular
from tests.factories import tiny_recommender, tiny_world

NEW_IDS = [3, 9_999, 99_999]


def jury_of(catalog: Catalog, interactions: Interactions) -> Jury:
    user_ids = interactions.user_ids
    world = World(catalog, interactions, user_ids[user_ids % 4 == 0], "tiny")
    return summon_jury(world, interactions.to_matrix(catalog))


@pytest.fixture(scope="module")
def wider() -> tuple[Catalog, Interactions]:
    """The tiny world with three titles more, which move all positions, and which everybody has rated 9."""
    catalog, interactions = tiny_world()
    added = catalog.items.iloc[: len(NEW_IDS)].copy()
    added[Columns.Item], added[ItemColumns.Title] = NEW_IDS, ["A", "B", "C"]
    rated = [
        pd.DataFrame({Columns.User: interactions.user_ids, Columns.Item: item_id, Columns.Rating: 9})
        for item_id in NEW_IDS
    ]
    items = pd.concat([catalog.items, added], ignore_index=True)
    return Catalog(items), Interactions(pd.concat([interactions.table, *rated], ignore_index=True))


def lists(judgement: Judgement, jury: Jury) -> list[list[int]]:
    return [jury.catalog.item_ids[row[row != EMPTY]].tolist() for row in judgement.ranked]


def profile(model: Recommender, jury: Jury, row: int) -> Profile:
    """What the model may know of a member's seen ratings."""
    history = jury.people.history[row]
    item_ids = jury.catalog.item_ids[history.indices]
    known = model.catalog.contains(item_ids)
    return Profile(item_ids[known], history.data[known], {})


def test_the_jury_is_the_test_users_with_their_fixed_targets() -> None:
    catalog, interactions = tiny_world()
    jury = jury_of(catalog, interactions)
    everybody = interactions.user_ids
    assert jury.people.user_ids.tolist() == everybody[assign_groups(everybody) == TEST].tolist()
    assert jury.arrived.tolist() == [user_id % 4 == 0 for user_id in jury.people.user_ids]
    targets = split_history(interactions).targets.select_users(jury.people.user_ids)
    assert jury.people.targets.nnz == len(targets)
    assert jury.people.history.multiply(jury.people.targets).nnz == 0
    assert jury.item_counts.sum() == len(interactions)


def test_without_test_users_there_is_one_clear_sentence() -> None:
    catalog, interactions = tiny_world()
    everybody = interactions.user_ids
    rest = interactions.select_users(everybody[assign_groups(everybody) != TEST])
    with pytest.raises(EvaluationError, match="no test users with two ratings; ingest more, or let more arrive"):
        jury_of(catalog, rest)


def test_a_list_is_what_the_service_would_answer() -> None:
    jury, model = jury_of(*tiny_world()), tiny_recommender()
    judged = lists(judge_recommender("challenger", model, jury), jury)
    for row in range(len(judged)):
        assert judged[row] == model.recommend(profile(model, jury, row), k=K).item_ids.tolist()


def test_a_rating_error_is_what_the_service_would_predict() -> None:
    jury, model = jury_of(*tiny_world()), tiny_recommender()
    judgement = judge_recommender("challenger", model, jury)
    assert judgement.rating_error is not None
    for row, error in enumerate(judgement.rating_error):
        targets = jury.people.targets[row]
        predicted = model.predict_ratings(profile(model, jury, row), jury.catalog.item_ids[targets.indices])
        assert error == pytest.approx(np.abs(predicted - targets.data).mean(), abs=1e-5)


def test_a_champion_that_knows_fewer_titles_is_judged_on_the_same_people(wider: tuple[Catalog, Interactions]) -> None:
    jury, model = jury_of(*wider), tiny_recommender()
    judgement = judge_recommender("champion", model, jury)
    assert judgement.to_scorecard(jury).user_ids.tolist() == jury.people.user_ids.tolist()
    judged = lists(judgement, jury)
    for row, item_ids in enumerate(judged):
        # Back in the jury's positions, and what was watched stays out.
        assert item_ids == model.recommend(profile(model, jury, row), k=K).item_ids.tolist()
        assert not set(item_ids) & set(jury.catalog.item_ids[jury.people.history[row].indices])
    assert not set(NEW_IDS) & {item_id for item_ids in judged for item_id in item_ids}
    assert {len(item_ids) for item_ids in judged} == {K}


def test_a_title_that_the_champion_does_not_know_counts_as_the_persons_mean(
    wider: tuple[Catalog, Interactions],
) -> None:
    jury, model = jury_of(*wider), tiny_recommender()
    judgement = judge_recommender("champion", model, jury)
    assert judgement.rating_error is not None
    assert np.isfinite(judgement.rating_error).all()
    n_unknown = 0
    for row, error in enumerate(judgement.rating_error):
        history, targets = jury.people.history[row], jury.people.targets[row]
        item_ids = jury.catalog.item_ids[targets.indices]
        known = model.catalog.contains(item_ids)
        predicted = np.full(len(item_ids), history.data.mean())
        predicted[known] = model.predict_ratings(profile(model, jury, row), item_ids[known])
        assert error == pytest.approx(np.abs(predicted - targets.data).mean(), abs=1e-5)
        n_unknown += int((~known).sum())
    assert n_unknown > 0


def test_a_champion_that_knows_titles_which_have_left_recommends_the_rest() -> None:
    catalog, interactions = tiny_world()
    left = catalog.item_ids[::3]
    rest = Catalog(catalog.items[~catalog.items[Columns.Item].isin(left)].reset_index(drop=True))
    table = interactions.table
    jury = jury_of(rest, Interactions(table[~table[Columns.Item].isin(left)].reset_index(drop=True)))
    judgement = judge_recommender("champion", tiny_recommender(), jury)
    judged = lists(judgement, jury)
    for row, item_ids in enumerate(judged):
        answer = tiny_recommender().recommend(profile(tiny_recommender(), jury, row), k=K).item_ids
        assert item_ids == [item_id for item_id in answer if item_id not in left]
    assert judgement.facts["short_list_share"] > 0
    assert judgement.rating_error is not None
    assert np.isfinite(judgement.rating_error).all()


def test_a_first_stage_model_ranks_the_whole_catalog_but_what_was_watched() -> None:
    jury = jury_of(*tiny_world())
    popular = tiny_recommender().retriever.first_stage.models["popular"]
    judgement = judge_generator(popular, jury)
    assert judgement.rating_error is None
    scores = popular.score(jury.people.history[:1])[0]
    for row, ranked in enumerate(judgement.ranked):
        watched = jury.people.history[row].indices
        assert not np.isin(ranked, watched).any()
        assert scores[ranked].tolist() == sorted(np.delete(scores, watched), reverse=True)[:K]


def test_means_and_table_hold_every_metric() -> None:
    jury = jury_of(*tiny_world())
    judgement = judge_recommender("challenger", tiny_recommender(), jury)
    table, means = judgement.to_table(jury), judgement.means()
    assert set(table["model"]) == {"challenger"}
    assert means["mae"] == pytest.approx(table["mae"].mean())
    assert means["ndcg_at_10"] == pytest.approx(table["ndcg_at_10"].mean())
    assert means["scoring_p95_ms"] > 0
    assert 0 < means["catalog_coverage"] <= 1


def fitted(model: CandidateGenerator) -> CandidateGenerator:
    catalog, interactions = tiny_world()
    return model.fit(select_group(interactions, TRAIN).to_matrix(catalog), catalog)


def deep_jury() -> Jury:
    catalog, interactions = tiny_world()
    world = World(catalog, interactions, interactions.user_ids[:0], "tiny")
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    return summon_jury(world, training, franchises=np.arange(len(catalog)) // 3)


def rank_slowly(model: CandidateGenerator, jury: Jury, row: int) -> list[int]:
    history = jury.people.history[row]
    scores = model.score(history)[0]
    left = [item for item in range(len(jury.catalog)) if item not in history.indices]
    return sorted(left, key=lambda item: (-scores[item], hash_ids([jury.catalog.item_ids[item]], salt=10)[0]))


def test_metrics_are_those_of_a_slow_reference() -> None:
    jury, model = deep_jury(), fitted(Ease())
    judgement = judge_generator(model, jury, depth=DEEP)
    n_undiscovered = 0
    for row in range(len(jury.people.user_ids)):
        ranked, targets = rank_slowly(model, jury, row), jury.people.targets[row]
        assert judgement.ranked[row].tolist() == ranked[:K]
        liked = set(targets.indices[targets.data >= 7])
        known = {item // 3 for item in jury.people.history[row].indices}
        unknown = {item for item in liked if item // 3 not in known}
        discoveries = [item for item in ranked if item // 3 not in known][:K]
        for prefix, shown, wanted in (("", ranked[:K], liked), ("discovery_", discoveries, unknown)):
            gains = sum(1 / np.log2(place + 2) for place, item in enumerate(shown) if item in wanted)
            best = sum(1 / np.log2(place + 2) for place in range(min(K, len(wanted))))
            value = judgement.metrics[f"{prefix}ndcg_at_10"][row]
            assert value == pytest.approx(gains / best) if wanted else np.isnan(value)
        n_undiscovered += len(unknown)
        if liked:
            assert judgement.metrics["recall_at_100"][row] == 1.0
    assert n_undiscovered > 10


def test_without_a_history_a_single_model_shows_what_people_like() -> None:
    jury = deep_jury()
    empty = replace(jury.people, history=jury.people.history * 0)
    empty.history.eliminate_zeros()
    nobody = replace(jury, people=empty)
    personal, popular = judge_generator(fitted(Ease()), nobody), judge_generator(fitted(Popular()), nobody)
    assert personal.ranked.tolist() == popular.ranked.tolist()


def test_titles_outside_the_lists_are_neither_shown_nor_missed() -> None:
    jury, model = deep_jury(), fitted(Ease())
    shorter = replace(jury.people, history=shorten_histories(jury.people, np.full(len(jury.people.user_ids), 2)))
    judgement = judge_generator(model, replace(jury, people=shorter, unshown=jury.people.history), depth=DEEP)
    for row, ranked in enumerate(judgement.ranked):
        assert not set(ranked) & set(jury.people.history[row].indices)
        assert len(set(ranked) - {EMPTY}) == K
    recommended = judge_recommender("ranker", tiny_recommender(), replace(jury, unshown=jury.people.targets), depth=20)
    assert np.nansum(recommended.metrics["ndcg_at_10"]) == 0.0


def test_only_allowed_titles_are_shown() -> None:
    jury = deep_jury()
    allowed = np.arange(len(jury.catalog)) % 2 == 0
    single = judge_generator(fitted(Ease()), jury, allowed=allowed)
    whole = judge_recommender("ranker", tiny_recommender(), jury, allowed=allowed)
    for judgement in (single, whole):
        shown = judgement.ranked[judgement.ranked != EMPTY]
        assert shown.size
        assert (shown % 2 == 0).all()


def test_a_changed_target_moves_no_list_and_only_that_persons_metrics() -> None:
    catalog, interactions = tiny_world()
    targets = split_history(interactions).targets.table
    judged = assign_groups(targets[Columns.User]) == TEST
    victim = targets[judged & (targets[Columns.Rating] >= 8)].iloc[0]
    table = interactions.table.copy()
    row = (table[Columns.User] == victim[Columns.User]) & (table[Columns.Item] == victim[Columns.Item])
    table.loc[row, Columns.Rating] = 1
    juries = [jury_of(catalog, found) for found in (interactions, Interactions(table))]
    before, after = (judge_recommender("ranker", tiny_recommender(), jury) for jury in juries)
    others = juries[0].people.user_ids != victim[Columns.User]
    assert before.ranked.tolist() == after.ranked.tolist()
    for name, values in before.metrics.items():
        assert values[others].tolist() == pytest.approx(after.metrics[name][others].tolist(), nan_ok=True), name
    assert before.rating_error is not None
    assert after.rating_error is not None
    assert before.rating_error[others].tolist() == after.rating_error[others].tolist()
    assert before.rating_error[~others] != after.rating_error[~others]


def test_the_same_seed_gives_the_same_lists() -> None:
    jury = deep_jury()
    lists = [judge_generator(fitted(Als(n_factors=8, seed=3)), jury, depth=20).ranked for _ in range(2)]
    assert lists[0].tolist() == lists[1].tolist()
