import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from recsys.exceptions import DataContractError, SchemaMismatchError
from recsys.gate import metrics

RANKED = np.array([[0, 1, 2], [3, 4, -1], [-1, -1, -1], [2, 1, 0]])
TARGETS = csr_matrix(
    np.array(
        [
            [1, 0, 1, 0, 0],  # hits at ranks 1 and 3
            [1, 0, 0, 0, 1],  # a hit at rank 2, one item missed
            [1, 0, 0, 0, 0],  # an empty list
            [0, 0, 0, 0, 0],  # nothing relevant
        ]
    )
)
BEST_OF_TWO = 1 + 1 / math.log2(3)


def test_known_answers() -> None:
    ranked, targets = RANKED, TARGETS
    nan = math.nan
    assert_allclose(
        metrics.ndcg_at_k(ranked, targets, 3), [1.5 / BEST_OF_TWO, (1 / math.log2(3)) / BEST_OF_TWO, 0, nan]
    )
    assert_allclose(metrics.recall_at_k(ranked, targets, 3), [1, 0.5, 0, nan])
    assert_allclose(metrics.precision_at_k(ranked, targets, 3), [2 / 3, 1 / 3, 0, nan])
    assert_allclose(metrics.hit_rate_at_k(ranked, targets, 3), [1, 1, 0, nan])
    assert_allclose(metrics.reciprocal_rank_at_k(ranked, targets, 3), [1, 0.5, 0, nan])


def test_a_short_list_is_filled_with_misses() -> None:
    assert_allclose(metrics.precision_at_k(RANKED, TARGETS, 10)[:2], [0.2, 0.1])
    # One relevant item: the ideal list has one hit however long it may be.
    assert metrics.ndcg_at_k(np.array([[4]]), csr_matrix([[0, 0, 0, 0, 1]]), 10) == [1.0]


def test_only_the_first_k_count() -> None:
    assert_allclose(metrics.recall_at_k(RANKED, TARGETS, 1)[:2], [0.5, 0.0])


def test_stored_zeros_are_not_relevant() -> None:
    targets = csr_matrix(([0.0, 1.0], ([0, 0], [0, 1])), shape=(1, 2))
    assert metrics.count_relevant(targets).tolist() == [1]
    assert metrics.hit_rate_at_k(np.array([[0]]), targets) == [0.0]


@pytest.mark.parametrize(
    ("ranked", "k", "error"),
    [
        (np.array([[0, 0]]), 2, DataContractError),
        (np.array([[0, 1]]), 0, DataContractError),
        (np.array([[0, 5]]), 2, SchemaMismatchError),
        (np.array([[-2, 1]]), 2, SchemaMismatchError),
        (np.array([[0], [1]]), 2, SchemaMismatchError),
        (np.array([0, 1]), 2, SchemaMismatchError),
    ],
)
def test_wrong_lists_are_refused(ranked: np.ndarray, k: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        metrics.ndcg_at_k(ranked, csr_matrix(np.ones((1, 5))), k)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    k = draw(st.integers(1, 12))
    relevant = np.array([draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)) for _ in range(n_users)])
    ranked = np.full((n_users, n_items), -1)
    for row in range(n_users):
        length = draw(st.integers(0, n_items))
        ranked[row, :length] = draw(st.permutations(range(n_items)))[:length]
    return ranked, relevant, k


def evaluate_slowly(ranked: np.ndarray, relevant: np.ndarray, k: int) -> tuple[float, ...]:
    """Compute the metrics of one list by hand."""
    items = [item for item in ranked.tolist()[:k] if item >= 0]
    favourites = set(np.flatnonzero(relevant).tolist())
    if not favourites:
        return (math.nan,) * 5
    gain = sum(1 / math.log2(rank + 1) for rank, item in enumerate(items, 1) if item in favourites)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(favourites)) + 1))
    found = len(favourites.intersection(items))
    first = next((1 / rank for rank, item in enumerate(items, 1) if item in favourites), 0.0)
    return gain / ideal, found / len(favourites), found / k, float(found > 0), first


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_agrees_with_a_slow_loop(world: tuple[np.ndarray, np.ndarray, int]) -> None:
    ranked, relevant, k = world
    computed = metrics.compute_ranking_metrics(ranked, csr_matrix(relevant), k)
    expected = np.array([evaluate_slowly(*row, k) for row in zip(ranked, relevant, strict=True)]).T
    for name, values in zip(["ndcg", "recall", "precision", "hit_rate", "reciprocal_rank"], expected, strict=True):
        assert_allclose(computed[f"{name}_at_{k}"], values, atol=1e-12)
        assert_allclose(getattr(metrics, f"{name}_at_k")(ranked, csr_matrix(relevant), k), values, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_does_not_depend_on_how_items_are_numbered(world: tuple[np.ndarray, np.ndarray, int], random: object) -> None:
    ranked, relevant, k = world
    names = list(range(relevant.shape[1]))
    random.shuffle(names)  # type: ignore[attr-defined]
    renamed = np.array([*names, -1])[ranked]
    moved = np.zeros_like(relevant)
    moved[:, names] = relevant
    before = metrics.compute_ranking_metrics(ranked, csr_matrix(relevant), k)
    after = metrics.compute_ranking_metrics(renamed, csr_matrix(moved), k)
    for name, values in before.items():
        assert_allclose(after[name], values)


def test_rating_error_is_a_mean_per_user() -> None:
    errors = metrics.absolute_rating_error([7, 9, 5], [8, 6, 5], [0, 0, 2], n_users=4)
    assert_allclose(errors, [2.0, np.nan, 0.0, np.nan])
    assert metrics.absolute_rating_error([], [], []).shape == (0,)


@pytest.mark.parametrize(
    ("predicted", "observed", "rows"), [([1, 2], [1, 2], [0]), ([1], [1], [-1]), ([1], [1], [2]), ([[1]], [[1]], [[0]])]
)
def test_rating_error_refuses_what_does_not_match(predicted: list, observed: list, rows: list) -> None:
    with pytest.raises(SchemaMismatchError):
        metrics.absolute_rating_error(predicted, observed, rows, n_users=2)
