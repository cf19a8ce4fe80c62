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
    # 8 of 8 people rated item 0 (no news), 2 of 8 item 1 (two bits).
    assert_allclose(list_metrics.novelty(RANKED, COUNTS, 8), [1.0, 0.0, np.nan])
    # An unrated item counts as rated once.
    assert_allclose(list_metrics.novelty(np.array([[2], [3]]), COUNTS, 8), [3.0, 3.0])


def test_novelty_refuses_more_ratings_than_people() -> None:
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
