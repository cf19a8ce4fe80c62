"""A history without one of its titles scores as what remains of it does."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from recsys.features.ranking_features import compute_ranking_features
from recsys.recommender import UserProfile
from recsys.retrieval.base import find_nth_best, select_top
from recsys.retrieval.content import GenreTfidf
from recsys.retrieval.embedding import Als
from recsys.retrieval.item_item import compute_sums
from recsys.retrieval.leave_one_out import FoldedAnew, find_places, fold, remove_each
from recsys.types import RatingMatrix
from tests.factories import N_ITEMS, tiny_catalog, tiny_recommender, tiny_world

CATALOG, INTERACTIONS = tiny_world()
MODELS = tiny_recommender().retriever.first_stage.models
HISTORIES = {f"user {row}": INTERACTIONS.to_matrix(CATALOG)[row] for row in range(0, 40, 5)}
HISTORIES["one title"] = csr_matrix(([9.0], ([0], [3])), shape=(1, N_ITEMS), dtype=np.float32)
HISTORIES["two titles, one liked"] = csr_matrix(([9.0, 2.0], ([0, 0], [3, 8])), shape=(1, N_ITEMS), dtype=np.float32)
HISTORIES["nothing liked"] = csr_matrix(([6.0, 2.0, 4.0], ([0] * 3, [3, 8, 9])), shape=(1, N_ITEMS), dtype=np.float32)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_removing_a_title_equals_scoring_the_rest(name: str, history: RatingMatrix) -> None:
    model, removed = MODELS[name], history.indices.astype(np.intp)
    folded = fold(model, history)
    assert not isinstance(folded, FoldedAnew)
    assert folded.scores.tolist() == model.score(history).tolist()
    expected = model.score(remove_each(history, removed))
    assert_allclose(folded.score_without(removed), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_pairs_are_scored_as_rows_are(name: str, history: RatingMatrix) -> None:
    stranger = np.setdiff1d(np.arange(N_ITEMS), history.indices)[:1]
    removed = np.concatenate([history.indices, stranger]).astype(np.intp)
    rows = np.repeat(np.arange(len(removed)), 3)
    columns = np.stack([removed, (removed + 1) % N_ITEMS, (removed + 9) % N_ITEMS], axis=1).ravel()
    folded = fold(MODELS[name], history)
    found, expected = folded.score_pairs_without(removed, rows, columns), folded.score_without(removed)
    same = np.testing.assert_array_equal if name == "ease" else partial(assert_allclose, rtol=2e-5, atol=2e-6)
    same(found.values, expected[rows, columns])
    same(found.best, expected.max(axis=1))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 30.0])
def test_the_best_of_a_model_of_vectors_is_never_left_out(scale: float) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3_000, 16)).astype(np.float32) * (1 + scale * rng.random((3_000, 1), dtype=np.float32))
    model = Als.from_state({"vectors": vectors, "constants": np.array([20.0, 5.0])})
    for n_seen in (1, 2, 5, 40):
        seen = rng.choice(3_000, n_seen, replace=False)
        ratings = rng.integers(1, 11, n_seen).astype(np.float32)
        folded = fold(model, csr_matrix((ratings, (np.zeros(n_seen, dtype=int), seen)), shape=(1, 3_000)))
        places = np.arange(n_seen)
        found, expected = folded.score_pairs_without(seen, places, seen), folded.score_without(seen)
        assert_allclose(found.best, expected.max(axis=1), rtol=1e-5, atol=1e-5)
        assert_allclose(found.values, expected[places, seen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_title_that_is_not_in_the_history_changes_nothing(name: str) -> None:
    history = HISTORIES["user 5"]
    stranger = np.setdiff1d(np.arange(N_ITEMS), history.indices)[:1]
    folded = fold(MODELS[name], history)
    assert_allclose(folded.score_without(stranger), folded.scores, rtol=1e-6)


def test_a_model_without_a_shorter_way_scores_anew() -> None:
    history, model = HISTORIES["user 10"], GenreTfidf().fit(csr_matrix((0, N_ITEMS)), tiny_catalog())
    folded, removed = fold(model, history), history.indices.astype(np.intp)
    assert isinstance(folded, FoldedAnew)
    assert folded.score_without(removed).tolist() == model.score(remove_each(history, removed)).tolist()


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_features_without_a_title_are_those_of_the_rest(history: RatingMatrix) -> None:
    model, removed = tiny_recommender(), history.indices.astype(np.intp)
    profile = UserProfile(CATALOG.item_ids[history.indices], history.data)
    candidates = [np.unique([title, 1, 30]) for title in removed]
    pairs = model.retriever.describe_without(model.fold(profile), removed, candidates)
    rest = remove_each(history, removed)
    tastes = np.zeros((len(removed), len(CATALOG.genres)), dtype=np.float32)
    expected = model.retriever.describe(rest, tastes, candidates)
    schema, features = compute_ranking_features(pairs, model.ranker.schema.groups)
    found = compute_ranking_features(expected, model.ranker.schema.groups)[1]
    for place, name in enumerate(schema.names):
        assert_allclose(features[:, place], found[:, place], rtol=5e-5, atol=5e-6, err_msg=name)
    assert np.array_equal(model.ranker.predict_ratings(features), model.ranker.predict_ratings(found))


def test_entries_are_found_and_removed() -> None:
    history = csr_matrix(([9.0, 8.0, 7.0], ([0, 0, 0], [2, 5, 7])), shape=(1, 9), dtype=np.float32)
    assert find_places(history, np.array([5, 3, 8, 2])).tolist() == [1, -1, -1, 0]
    assert find_places(history[:, :0], np.array([1])).tolist() == [-1]
    assert remove_each(history, np.array([5, 3])).toarray().tolist() == [
        [0, 0, 9, 0, 0, 0, 0, 7, 0],
        [0, 0, 9, 0, 0, 8, 0, 7, 0],
    ]


def test_products_are_those_of_sparse_matrices_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    weights = csr_matrix(rng.normal(size=(60, 60)).astype(np.float32) * (rng.random((60, 60)) < 0.5))
    histories = csr_matrix(rng.random((5, 60)).astype(np.float32) * (rng.random((5, 60)) < 0.5))
    expected = (histories @ weights).toarray()
    assert compute_sums(histories, weights).tobytes() == expected.tobytes()
    assert compute_sums(histories[2], weights).tobytes() == expected[2].tobytes()


@pytest.mark.parametrize("levels", [2, 30, 10**6])
@pytest.mark.parametrize("n_items", [1, 7, 500, 3000])
def test_the_best_are_found_as_by_a_complete_order(levels: int, n_items: int) -> None:
    rng = np.random.default_rng(levels)
    scores = rng.integers(-levels, levels, (3, n_items)).astype(np.float32)
    allowed = rng.random((3, n_items)) < 0.7
    n = min(10, n_items)
    assert find_nth_best(scores, n).tolist() == [np.sort(row)[-n] for row in scores]
    for row, found in enumerate(select_top(scores, allowed, 10)):
        usable = np.flatnonzero(allowed[row])
        best = usable[np.lexsort((usable, -scores[row, usable]))][:10]
        assert scores[row, found].tolist() == scores[row, best].tolist()
        assert len(set(found.tolist())) == len(found) <= allowed[row].sum()
        if levels > n_items**2:
            assert found.tolist() == best.tolist()
