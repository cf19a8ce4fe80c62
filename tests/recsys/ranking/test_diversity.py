"""Variety costs relevance, as little as possible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.features.item_side import normalise_rows
from recsys.ranking.diversity import select_diverse


def make_candidates(seed: int, n: int = 40, n_franchises: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=n))[::-1].astype(np.float32)
    vectors = normalise_rows(rng.normal(size=(n, 4)).astype(np.float32))
    return scores, vectors, rng.integers(0, n_franchises, n)


def mean_likeness(vectors: np.ndarray) -> float:
    cosines = vectors @ vectors.T
    return float(cosines[np.triu_indices(len(vectors), 1)].mean())


def test_none_leaves_the_list_alone() -> None:
    scores, vectors, franchises = make_candidates(0)
    picked, values = select_diverse(scores, vectors, franchises, diversity=0.0, k=7)
    assert picked.tolist() == list(range(7))
    assert np.array_equal(values, scores[:7])


@given(st.integers(0, 1000), st.floats(0.01, 1.0), st.integers(0, 60))
def test_lists_are_full_distinct_and_ordered(seed: int, diversity: float, k: int) -> None:
    scores, vectors, franchises = make_candidates(seed)
    picked, values = select_diverse(scores, vectors, franchises, diversity=diversity, k=k)
    assert len(set(picked.tolist())) == len(picked) == min(k, len(scores))
    assert (np.diff(values) <= 0).all()


@given(st.integers(0, 1000), st.floats(0.01, 1.0))
def test_a_franchise_comes_once_while_others_are_left(seed: int, diversity: float) -> None:
    scores, vectors, franchises = make_candidates(seed)
    picked, _ = select_diverse(scores, vectors, franchises, diversity=diversity, k=len(scores))
    n_franchises = len(np.unique(franchises))
    assert len(np.unique(franchises[picked[:n_franchises]])) == n_franchises


def test_the_best_title_stays_the_first() -> None:
    scores, vectors, franchises = make_candidates(1)
    for diversity in (0.1, 0.5, 0.9):
        assert select_diverse(scores, vectors, franchises, diversity=diversity, k=5)[0][0] == 0


def test_more_variety_means_less_likeness_and_less_relevance() -> None:
    likeness, relevance = [], []
    for diversity in (0.0, 0.4, 0.8):
        lists = [make_candidates(seed, n_franchises=10_000) for seed in range(30)]
        found = [select_diverse(*parts, diversity=diversity, k=8)[0] for parts in lists]
        likeness.append(np.mean([mean_likeness(parts[1][picked]) for parts, picked in zip(lists, found, strict=True)]))
        relevance.append(np.mean([parts[0][picked].mean() for parts, picked in zip(lists, found, strict=True)]))
    assert likeness == sorted(likeness, reverse=True)
    assert relevance == sorted(relevance, reverse=True)
    assert likeness[0] - likeness[2] > 0.05


def test_twins_are_parted() -> None:
    """Two equal titles lead; with some diversity the second gives way to a title that is unlike the first."""
    scores = np.array([1.0, 0.9, 0.6, 0.0], dtype=np.float32)
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, -1]], dtype=np.float32)
    picked, values = select_diverse(scores, vectors, np.arange(4), diversity=0.5, k=3)
    assert picked.tolist() == [0, 2, 3]
    assert values.tolist() == pytest.approx([0.5, 0.3, 0.0])


def test_equal_scores_are_no_error() -> None:
    picked, _ = select_diverse(np.ones(3, np.float32), np.eye(3, dtype=np.float32), np.arange(3), diversity=0.3, k=3)
    assert sorted(picked.tolist()) == [0, 1, 2]
