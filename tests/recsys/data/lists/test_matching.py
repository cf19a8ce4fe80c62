from collections import Counter
from pathlib import Path

import pytest

from recsys.data.lists import matching
from recsys.data.lists.entries import ListEntry, WatchList
from recsys.data.lists.matching import MatchedList, match_watch_list
from recsys.data.lists.scores import ScoreFormat
from recsys.data.titles import TitleIndex
from recsys.types import WatchStatus
from tests.factories import tiny_catalog

CATALOG = tiny_catalog()
TITLES = TitleIndex.build(CATALOG)


def match(*entries: ListEntry) -> MatchedList:
    return match_watch_list(WatchList("test", ScoreFormat.Point10, entries, Counter()), CATALOG, TITLES)


def entry(item_id: int | None, title: str | None, rating: int | None = None) -> ListEntry:
    return ListEntry(item_id, title, rating, WatchStatus.Completed)


def test_ids_decide_and_whole_titles_stand_in_for_them() -> None:
    found = match(
        entry(6, "some other name", 8), entry(None, "revolutionary girl utena", 9), entry(None, "カウボーイビバップ")
    )
    assert found.ratings == {6: 8, 440: 9}
    assert set(found.statuses) == {1, 6, 440}
    assert [(row.item_id, row.by) for row in found.entries] == [(1, "title"), (6, "id"), (440, "title")]
    assert found.entries[1].title == "Trigun"
    assert not found.unmatched
    assert not found.duplicates


def test_an_id_that_the_catalog_does_not_hold_stays_unmatched_whatever_its_title() -> None:
    found = match(entry(10**18, "Trigun", 8), entry(999, None), entry(None, None))
    assert not found.entries
    assert [row.suggestions for row in found.unmatched] == [("Trigun",), (), ()]


def test_a_part_of_a_title_is_only_a_suggestion() -> None:
    found = match(entry(None, "Cowboy Bebop Tengoku"), entry(None, "Naruot"), entry(None, "zzzz qqqq xxxx"))
    assert not found.entries
    assert found.unmatched[0].suggestions[0] == "Cowboy Bebop: Tengoku no Tobira"
    assert found.unmatched[1].suggestions[0] == "Naruto"


def test_the_last_entry_of_a_title_holds_and_an_id_goes_before_a_name() -> None:
    found = match(entry(6, None, 3), entry(6, None, 8), entry(None, "Trigun", 1))
    assert found.ratings == {6: 8}
    assert [row.rating for row in found.duplicates] == [3, 1]


def test_only_so_many_titles_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_LOOKUPS", 2)
    found = match(*(entry(None, f"Narut {n}") for n in range(5)), entry(None, "Narut 0"))
    assert [bool(row.suggestions) for row in found.unmatched] == [True, True, False, False, False, True]


def test_no_module_of_the_lists_reads_files() -> None:
    folder = Path(matching.__file__).parent
    assert not any("open(" in path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
