import tracemalloc
from collections import Counter

import pytest

from recsys.data.lists.formats import parse_watch_list
from recsys.data.lists.matching import match_watch_list
from recsys.data.titles import TitleIndex
from recsys.exceptions import WatchListError
from tests.factories import tiny_catalog
from tests.recsys.data.lists.mutations import build_seeds, mutate_files

CATALOG = tiny_catalog()
TITLES = TitleIndex.build(CATALOG)


def count_outcomes(n_files: int, seed: int) -> Counter[str]:
    """Read and match damaged files; anything but a list or our own error ends the test."""
    outcomes: Counter[str] = Counter()
    for content in mutate_files(n_files, seed):
        try:
            found = match_watch_list(parse_watch_list(content), CATALOG, TITLES)
        except WatchListError:
            outcomes["refused"] += 1
            continue
        assert all(rating is None or 1 <= rating <= 10 for rating in (row.rating for row in found.entries))
        assert len({row.item_id for row in found.entries}) == len(found.entries)
        outcomes["read"] += 1
    return outcomes


def test_good_files_are_read() -> None:
    assert all(parse_watch_list(content).entries for content in build_seeds())


def test_damaged_files_are_read_or_refused() -> None:
    outcomes = count_outcomes(1_500, seed=1)
    assert min(outcomes["read"], outcomes["refused"]) > 100


@pytest.mark.e2e
def test_ten_thousand_damaged_files_take_no_memory_that_stays() -> None:
    count_outcomes(500, seed=2)  # caches of imports and folding
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        outcomes = count_outcomes(10_000, seed=3)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(outcomes.values()) == 10_000
    assert after - before < 1 << 20
    assert peak - before < 64 << 20
