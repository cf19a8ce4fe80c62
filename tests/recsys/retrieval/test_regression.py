"""The closed form of EASE, solved in the memory of its matrices."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.distributed.sums import join_products
from recsys.features.franchises import group_franchises
from recsys.retrieval import item_item
from recsys.retrieval.item_item import CHUNK, Ease, build_regression, compute_sums_of_users, invert, keep_largest
from recsys.retrieval.rating_sums import sum_products
from tests.factories import tiny_world


@pytest.mark.parametrize("n", [1, 7, CHUNK, 2 * CHUNK + 3])
def test_a_matrix_is_inverted_in_its_own_memory(n: int) -> None:
    factors = np.random.default_rng(n).normal(size=(n, n + 5))
    matrix = factors @ factors.T + np.eye(n)
    expected, inverse = np.linalg.inv(matrix), invert(matrix)
    assert np.shares_memory(inverse, matrix)
    np.testing.assert_allclose(inverse, expected, rtol=1e-7, atol=1e-10)
    assert np.array_equal(inverse, inverse.T)


def test_what_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        invert(-np.eye(3))


def test_weights_are_those_of_the_formula() -> None:
    catalog, interactions = tiny_world()
    model = Ease(franchise_weight=3.0)
    ratings = interactions.to_matrix(catalog)
    regression = build_regression(model, *compute_sums_of_users(model, ratings), group_franchises(catalog, ratings))
    found = regression.solve(model.regularisation, model.dropout)
    franchises = regression.franchises[regression.frequent]
    penalised = regression.gram + 3.0 * (franchises[:, None] == franchises[None, :])
    penalised += np.diag(model.regularisation + model.dropout / (1 - model.dropout) * np.diag(regression.gram))
    assert np.allclose(penalised, regression.penalise(model.regularisation, model.dropout))
    inverse = np.linalg.inv(penalised)
    expected = inverse @ regression.targets
    expected -= inverse * (np.diag(expected) / np.diag(inverse))
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("n_titles", "at_once"), [(item_item.AT_ONCE, 2), (item_item.AT_ONCE + 1, 1)])
def test_large_regressions_are_solved_one_at_a_time(n_titles: int, at_once: int) -> None:
    ratings = csr_matrix(np.ones((1, n_titles), dtype=np.float32))
    both = threading.Barrier(2)

    def meet() -> bool:
        with item_item.take_turns(Ease(min_ratings=1), ratings):
            try:
                both.wait(10 if at_once == 2 else 0.5)
            except threading.BrokenBarrierError:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(meet), pool.submit(meet)]
        assert sum(future.result() for future in found) == (2 if at_once == 2 else 0)


def test_the_largest_weights_of_a_column_are_kept_across_parts() -> None:
    weights = np.random.default_rng(0).normal(size=(40, CHUNK + 9))
    kept = keep_largest(weights, 5).toarray()
    assert ((kept != 0).sum(axis=0) == 5).all()
    for column in range(weights.shape[1]):
        best = np.sort(np.argsort(-np.abs(weights[:, column]))[:5])
        assert np.flatnonzero(kept[:, column]).tolist() == best.tolist()
    assert np.array_equal(kept[kept != 0], weights[kept != 0].astype(np.float32))


def test_products_do_not_tell_how_users_were_grouped() -> None:
    rng = np.random.default_rng(3)
    ratings = csr_matrix(rng.integers(1, 11, (900, 70)) * (rng.random((900, 70)) < 0.3), dtype=np.float32)
    frequent = np.arange(0, 70, 2)
    whole = sum_products(ratings, frequent, 0.3, 21.0)
    parts = [sum_products(ratings[start : start + 37], frequent, 0.3, 1.0) for start in range(0, 900, 37)]
    joined = join_products(parts, frequent, 0.3, 21.0)
    for one, other in ((whole.gram, joined.gram), (whole.targets, joined.targets)):
        np.testing.assert_allclose(one, other, rtol=1e-13)
