"""Models are evaluated on the same users, also a champion that knows other titles than the evaluation set."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.splits import TEST, TRAIN, assign_groups, hash_ids, select_group, split_history
from recsys.data.users import shorten_histories
from recsys.evaluation.evaluate import DEEP, EvaluationResult, evaluate_generator, evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationData, EvaluationSet, build_evaluation_set
from recsys.evaluation.measured_lists import K
from recsys.exceptions import EvaluationError
from recsys.gate.metrics import EMPTY
from recsys.recommender import Recommender
from recsys.recommender.profile import UserProfile
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.embedding import Als
from recsys.retrieval.item_item import Ease
from recsys.retrieval.popular import MostMembers, Popular
from tests.factories import tiny_recommender, tiny_world

NEW_IDS = [3, 9_999, 99_999]


def evaluation_set_of(catalog: Catalog, interactions: Interactions) -> EvaluationSet:
    user_ids = interactions.user_ids
    world = EvaluationData(catalog, interactions, user_ids[user_ids % 4 == 0], "tiny")
    return build_evaluation_set(world, interactions.to_matrix(catalog))


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


def lists(result: EvaluationResult, eval_set: EvaluationSet) -> list[list[int]]:
    return [eval_set.catalog.item_ids[row[row != EMPTY]].tolist() for row in result.ranked]


def profile(model: Recommender, eval_set: EvaluationSet, row: int) -> UserProfile:
    """What the model may know of a member's seen ratings."""
    history = eval_set.users.history[row]
    item_ids = eval_set.catalog.item_ids[history.indices]
    known = model.catalog.contains(item_ids)
    return UserProfile(item_ids[known], history.data[known], {})


def test_the_evaluation_set_is_the_test_users_with_their_fixed_targets() -> None:
    catalog, interactions = tiny_world()
    eval_set = evaluation_set_of(catalog, interactions)
    everybody = interactions.user_ids
    assert eval_set.users.user_ids.tolist() == everybody[assign_groups(everybody) == TEST].tolist()
    assert eval_set.arrived.tolist() == [user_id % 4 == 0 for user_id in eval_set.users.user_ids]
    targets = split_history(interactions).targets.select_users(eval_set.users.user_ids)
    assert eval_set.users.targets.nnz == len(targets)
    assert eval_set.users.history.multiply(eval_set.users.targets).nnz == 0
    assert eval_set.item_counts.sum() == len(interactions)


def test_without_test_users_there_is_one_clear_sentence() -> None:
    catalog, interactions = tiny_world()
    everybody = interactions.user_ids
    rest = interactions.select_users(everybody[assign_groups(everybody) != TEST])
    with pytest.raises(EvaluationError, match="no test users with two ratings; ingest more, or let more arrive"):
        evaluation_set_of(catalog, rest)


def test_a_list_is_what_the_service_would_answer() -> None:
    eval_set, model = evaluation_set_of(*tiny_world()), tiny_recommender()
    evaluated = lists(evaluate_recommender("challenger", model, eval_set), eval_set)
    for row in range(len(evaluated)):
        assert evaluated[row] == model.recommend(profile(model, eval_set, row), k=K).item_ids.tolist()


def test_a_rating_error_is_what_the_service_would_predict() -> None:
    eval_set, model = evaluation_set_of(*tiny_world()), tiny_recommender()
    result = evaluate_recommender("challenger", model, eval_set)
    assert result.rating_error is not None
    for row, error in enumerate(result.rating_error):
        targets = eval_set.users.targets[row]
        predicted = model.predict_ratings(profile(model, eval_set, row), eval_set.catalog.item_ids[targets.indices])
        assert error == pytest.approx(np.abs(predicted - targets.data).mean(), abs=1e-5)


def test_a_champion_that_knows_fewer_titles_is_evaluated_on_the_same_users(wider: tuple[Catalog, Interactions]) -> None:
    eval_set, model = evaluation_set_of(*wider), tiny_recommender()
    result = evaluate_recommender("champion", model, eval_set)
    assert result.to_scorecard(eval_set).user_ids.tolist() == eval_set.users.user_ids.tolist()
    evaluated = lists(result, eval_set)
    for row, item_ids in enumerate(evaluated):
        # Back in the evaluation set's positions, and what was watched stays out.
        assert item_ids == model.recommend(profile(model, eval_set, row), k=K).item_ids.tolist()
        assert not set(item_ids) & set(eval_set.catalog.item_ids[eval_set.users.history[row].indices])
    assert not set(NEW_IDS) & {item_id for item_ids in evaluated for item_id in item_ids}
    assert {len(item_ids) for item_ids in evaluated} == {K}


def test_a_title_that_the_champion_does_not_know_counts_as_the_persons_mean(
    wider: tuple[Catalog, Interactions],
) -> None:
    eval_set, model = evaluation_set_of(*wider), tiny_recommender()
    result = evaluate_recommender("champion", model, eval_set)
    assert result.rating_error is not None
    assert np.isfinite(result.rating_error).all()
    n_unknown = 0
    for row, error in enumerate(result.rating_error):
        history, targets = eval_set.users.history[row], eval_set.users.targets[row]
        item_ids = eval_set.catalog.item_ids[targets.indices]
        known = model.catalog.contains(item_ids)
        predicted = np.full(len(item_ids), history.data.mean())
        predicted[known] = model.predict_ratings(profile(model, eval_set, row), item_ids[known])
        assert error == pytest.approx(np.abs(predicted - targets.data).mean(), abs=1e-5)
        n_unknown += int((~known).sum())
    assert n_unknown > 0


def test_a_champion_that_knows_titles_which_have_left_recommends_the_rest() -> None:
    catalog, interactions = tiny_world()
    left = catalog.item_ids[::3]
    rest = Catalog(catalog.items[~catalog.items[Columns.Item].isin(left)].reset_index(drop=True))
    table = interactions.table
    eval_set = evaluation_set_of(rest, Interactions(table[~table[Columns.Item].isin(left)].reset_index(drop=True)))
    result = evaluate_recommender("champion", tiny_recommender(), eval_set)
    evaluated = lists(result, eval_set)
    n_equal = 0
    for row, item_ids in enumerate(evaluated):
        answer = tiny_recommender().recommend(profile(tiny_recommender(), eval_set, row), k=K).item_ids
        assert not set(item_ids) & set(left.tolist())
        n_equal += item_ids == [item_id for item_id in answer if item_id not in left]
    # Users of a batch are summed in another order than one alone, and a threshold of a tree may lie between.
    assert n_equal >= len(evaluated) - 2
    assert result.facts["short_list_share"] > 0
    assert result.rating_error is not None
    assert np.isfinite(result.rating_error).all()


def test_a_first_stage_model_ranks_the_whole_catalog_but_what_was_watched() -> None:
    eval_set = evaluation_set_of(*tiny_world())
    popular = tiny_recommender().retriever.first_stage.models["popular"]
    result = evaluate_generator(popular, eval_set)
    assert result.rating_error is None
    scores = popular.score(eval_set.users.history[:1])[0]
    for row, ranked in enumerate(result.ranked):
        watched = eval_set.users.history[row].indices
        assert not np.isin(ranked, watched).any()
        assert scores[ranked].tolist() == sorted(np.delete(scores, watched), reverse=True)[:K]


def test_an_empty_history_is_scored_only_by_models_that_declare_it() -> None:
    eval_set = evaluation_set_of(*tiny_world())
    users = eval_set.users
    empty = replace(eval_set, users=replace(users, history=users.history.multiply(0).tocsr()))
    empty.users.history.eliminate_zeros()
    declared = MostMembers().fit(users.history, eval_set.catalog)
    silent = fitted(Ease())
    popular = evaluate_generator(fitted(Popular()), empty).ranked
    assert declared.serves_cold_start_users
    assert not np.array_equal(evaluate_generator(declared, empty).ranked, popular)
    assert np.array_equal(evaluate_generator(silent, empty).ranked, popular)


def test_means_and_table_hold_every_metric() -> None:
    eval_set = evaluation_set_of(*tiny_world())
    result = evaluate_recommender("challenger", tiny_recommender(), eval_set)
    table, means = result.to_table(eval_set), result.means()
    assert set(table["model"]) == {"challenger"}
    assert means["mae"] == pytest.approx(table["mae"].mean())
    assert means["ndcg_at_10"] == pytest.approx(table["ndcg_at_10"].mean())
    assert means["scoring_p95_ms"] > 0
    assert 0 < means["catalog_coverage"] <= 1


def fitted(model: CandidateGenerator) -> CandidateGenerator:
    catalog, interactions = tiny_world()
    return model.fit(select_group(interactions, TRAIN).to_matrix(catalog), catalog)


def deep_evaluation_set() -> EvaluationSet:
    catalog, interactions = tiny_world()
    world = EvaluationData(catalog, interactions, interactions.user_ids[:0], "tiny")
    training = select_group(interactions, TRAIN).to_matrix(catalog)
    return build_evaluation_set(world, training, franchises=np.arange(len(catalog)) // 3)


def rank_slowly(model: CandidateGenerator, eval_set: EvaluationSet, row: int) -> list[int]:
    history = eval_set.users.history[row]
    scores = model.score(history)[0]
    left = [item for item in range(len(eval_set.catalog)) if item not in history.indices]
    return sorted(left, key=lambda item: (-scores[item], hash_ids([eval_set.catalog.item_ids[item]], salt=10)[0]))


def test_metrics_are_those_of_a_slow_reference() -> None:
    eval_set, model = deep_evaluation_set(), fitted(Ease())
    result = evaluate_generator(model, eval_set, depth=DEEP)
    n_undiscovered = 0
    for row in range(len(eval_set.users.user_ids)):
        ranked, targets = rank_slowly(model, eval_set, row), eval_set.users.targets[row]
        assert result.ranked[row].tolist() == ranked[:K]
        liked = set(targets.indices[targets.data >= 7])
        known = {item // 3 for item in eval_set.users.history[row].indices}
        unknown = {item for item in liked if item // 3 not in known}
        discoveries = [item for item in ranked if item // 3 not in known][:K]
        for prefix, shown, wanted in (("", ranked[:K], liked), ("discovery_", discoveries, unknown)):
            gains = sum(1 / np.log2(place + 2) for place, item in enumerate(shown) if item in wanted)
            best = sum(1 / np.log2(place + 2) for place in range(min(K, len(wanted))))
            value = result.metrics[f"{prefix}ndcg_at_10"][row]
            assert value == pytest.approx(gains / best) if wanted else np.isnan(value)
        n_undiscovered += len(unknown)
        if liked:
            assert result.metrics["recall_at_100"][row] == 1.0
    assert n_undiscovered > 10


def test_without_a_history_a_single_model_shows_what_users_like() -> None:
    eval_set = deep_evaluation_set()
    empty = replace(eval_set.users, history=eval_set.users.history * 0)
    empty.history.eliminate_zeros()
    nobody = replace(eval_set, users=empty)
    personal, popular = evaluate_generator(fitted(Ease()), nobody), evaluate_generator(fitted(Popular()), nobody)
    assert personal.ranked.tolist() == popular.ranked.tolist()


def test_titles_outside_the_lists_are_neither_shown_nor_missed() -> None:
    eval_set, model = deep_evaluation_set(), fitted(Ease())
    shorter = replace(
        eval_set.users,
        history=shorten_histories(eval_set.users, np.full(len(eval_set.users.user_ids), 2)),
    )
    result = evaluate_generator(model, replace(eval_set, users=shorter, unshown=eval_set.users.history), depth=DEEP)
    for row, ranked in enumerate(result.ranked):
        assert not set(ranked) & set(eval_set.users.history[row].indices)
        assert len(set(ranked) - {EMPTY}) == K
    recommended = evaluate_recommender(
        "ranker", tiny_recommender(), replace(eval_set, unshown=eval_set.users.targets), depth=20
    )
    assert np.nansum(recommended.metrics["ndcg_at_10"]) == 0.0


def test_only_allowed_titles_are_shown() -> None:
    eval_set = deep_evaluation_set()
    allowed = np.arange(len(eval_set.catalog)) % 2 == 0
    single = evaluate_generator(fitted(Ease()), eval_set, allowed=allowed)
    whole = evaluate_recommender("ranker", tiny_recommender(), eval_set, allowed=allowed)
    for result in (single, whole):
        shown = result.ranked[result.ranked != EMPTY]
        assert shown.size
        assert (shown % 2 == 0).all()


def test_a_changed_target_moves_no_list_and_only_that_persons_metrics() -> None:
    catalog, interactions = tiny_world()
    targets = split_history(interactions).targets.table
    evaluated = assign_groups(targets[Columns.User]) == TEST
    victim = targets[evaluated & (targets[Columns.Rating] >= 8)].iloc[0]
    table = interactions.table.copy()
    row = (table[Columns.User] == victim[Columns.User]) & (table[Columns.Item] == victim[Columns.Item])
    table.loc[row, Columns.Rating] = 1
    eval_sets = [evaluation_set_of(catalog, found) for found in (interactions, Interactions(table))]
    before, after = (evaluate_recommender("ranker", tiny_recommender(), eval_set) for eval_set in eval_sets)
    others = eval_sets[0].users.user_ids != victim[Columns.User]
    assert before.ranked.tolist() == after.ranked.tolist()
    for name, values in before.metrics.items():
        assert values[others].tolist() == pytest.approx(after.metrics[name][others].tolist(), nan_ok=True), name
    assert before.rating_error is not None
    assert after.rating_error is not None
    assert before.rating_error[others].tolist() == after.rating_error[others].tolist()
    assert before.rating_error[~others] != after.rating_error[~others]


def test_the_same_seed_gives_the_same_lists() -> None:
    eval_set = deep_evaluation_set()
    lists = [evaluate_generator(fitted(Als(n_factors=8, seed=3)), eval_set, depth=20).ranked for _ in range(2)]
    assert lists[0].tolist() == lists[1].tolist()
