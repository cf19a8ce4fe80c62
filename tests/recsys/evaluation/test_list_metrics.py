import numpy as np
import pytest
from numpy.testing import assert_allclose

from recsys.evaluation import list_metrics
from recsys.exceptions import DataContractError, SchemaMismatchError

RANKED = np.array([[0, 1], [0, -1], [-1, -1]])
COUNTS = np.array([8, 2, 1, 0])


def test_coverage_counts_each_title_once() -> None:
    assert list_metrics.catalog_coverage(RANKED, 4) == 0.5
    assert list_metrics.catalog_coverage(RANKED[2:], 4) == 0.0
    with pytest.raises(DataContractError):
        list_metrics.catalog_coverage(RANKED, 0)


def test_novelty_is_in_bits() -> None:
    # 8 of 8 users rated item 0 (no news), 2 of 8 item 1 (two bits).
    assert_allclose(list_metrics.novelty(RANKED, COUNTS, 8), [1.0, 0.0, np.nan])
    # An unrated item counts as rated once.
    assert_allclose(list_metrics.novelty(np.array([[2], [3]]), COUNTS, 8), [3.0, 3.0])


def test_novelty_refuses_more_ratings_than_users() -> None:
    with pytest.raises(SchemaMismatchError, match="7 training users"):
        list_metrics.novelty(RANKED, COUNTS, 7)


def test_the_head_holds_the_asked_share_of_ratings() -> None:
    assert list_metrics.find_popular_items(COUNTS, 0.5).tolist() == [True, False, False, False]
    assert list_metrics.find_popular_items(COUNTS, 0.9).tolist() == [True, True, False, False]
    assert list_metrics.find_popular_items(np.array([1, 5, 5]), 0.5).tolist() == [False, True, True]
    assert not list_metrics.find_popular_items(np.zeros(3, dtype=np.int64)).any()


def test_popularity_share() -> None:
    assert_allclose(list_metrics.popularity_share(RANKED, COUNTS), [0.5, 1.0, np.nan])


def test_summary_of_all_lists() -> None:
    summary = list_metrics.compute_list_metrics(RANKED, COUNTS, 8)
    assert summary == pytest.approx(
        {
            "catalog_coverage": 0.5,
            "novelty": 0.5,
            "popularity_share": 0.75,
            "short_list_share": 2 / 3,
            "empty_list_share": 1 / 3,
        }
    )
    assert set(list_metrics.compute_list_metrics(RANKED[:0], COUNTS, 8).values()) == {0.0}


def test_diversity_is_the_mean_distance_of_all_pairs() -> None:
    half = 2**-0.5
    units = np.array([[1, 0], [0, 1], [half, half], [0, 0]])
    assert_allclose(list_metrics.intra_list_diversity(np.array([[0, 1, 2]]), units), [1 - 2 * half / 3])
    # A title without a mark is unlike every other; alone it is unlike nothing.
    assert_allclose(list_metrics.intra_list_diversity(np.array([[0, 3, -1], [0, -1, -1]]), units), [1.0, np.nan])


def test_coverage_interval_is_that_of_leaving_users_out() -> None:
    rng = np.random.default_rng(0)
    ranked = np.array([rng.choice(30, 5, replace=False, p=np.arange(1, 31) / 465) for _ in range(12)])
    found = list_metrics.coverage_interval(ranked, 30)
    without = np.array([np.unique(np.delete(ranked, row, axis=0)).size / 30 for row in range(12)])
    half = 1.959964 * np.sqrt(11 / 12 * ((without - without.mean()) ** 2).sum())
    assert found.mean == list_metrics.catalog_coverage(ranked, 30)
    assert_allclose([found.low, found.high], [found.mean - half, min(1.0, found.mean + half)], rtol=1e-6)
    # Everybody is shown the same: one more or less changes nothing.
    same = list_metrics.coverage_interval(np.tile(ranked[0], (6, 1)), 30)
    assert same.low == same.mean == same.high


def test_overlap_is_the_share_of_the_other_list_that_is_found() -> None:
    ours = np.array([[3, 1, 2], [4, -1, -1], [7, 8, 9], [-1, -1, -1]])
    theirs = np.array([[1, 2, 5], [4, 6, -1], [-1, -1, -1], [1, 2, 3]])
    assert list_metrics.compute_overlap(ours, theirs) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert list_metrics.compute_overlap(theirs, theirs) == 1.0
    assert list_metrics.compute_overlap(ours, np.full_like(ours, -1)) == 1.0
    with pytest.raises(SchemaMismatchError):
        list_metrics.compute_overlap(ours, theirs[:2])
