"""Match the entries of a watch list to the titles of a catalog.

A MAL id decides alone. One that the catalog does not hold is not looked for by its title: the catalog may know an older
work of the same name. Entries without an id, as AniList and converters have them, are matched by their whole title.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.lists.entries import ListEntry, WatchList
from recsys.data.titles import TitleIndex, TitleMatch
from recsys.exceptions import UnknownTitleError
from recsys.types import ItemId, WatchStatus

# A look for what is like a title takes milliseconds, a whole title microseconds; this bounds the former per list.
MAX_LOOKUPS: Final = 500
MAX_SUGGESTIONS: Final = 5
_WHOLE_TITLE: Final = ("exact", "alias")


@dataclass(frozen=True)
class MatchedEntry:
    """A title of the catalog with a rating 1..10 or None, and a status."""

    item_id: ItemId
    title: str
    rating: int | None
    status: WatchStatus
    by: Literal["id", "title"]


@dataclass(frozen=True)
class UnmatchedEntry:
    """An entry that no title of the catalog stands for, and the titles that are perhaps meant."""

    entry: ListEntry
    suggestions: tuple[str, ...]


@dataclass(frozen=True)
class MatchedList:
    """What became of a list.

    Parameters
    ----------
    entries
        One per title of the catalog, ascending by id.
    unmatched
        In the order of the list.
    duplicates
        Further entries of a title that another one stands for, in the order of the list.
    """

    entries: tuple[MatchedEntry, ...]
    unmatched: tuple[UnmatchedEntry, ...]
    duplicates: tuple[MatchedEntry, ...]

    @property
    def ratings(self) -> dict[ItemId, int]:
        """Item to rating 1..10, of the entries that have one."""
        return {entry.item_id: entry.rating for entry in self.entries if entry.rating is not None}

    @property
    def statuses(self) -> dict[ItemId, WatchStatus]:
        """Item to status, of all entries."""
        return {entry.item_id: entry.status for entry in self.entries}


def match_watch_list(watch_list: WatchList, catalog: Catalog, titles: TitleIndex) -> MatchedList:
    """Match every entry, and keep one per title.

    Of several entries of one title, one with its id goes before one with its name, and then the last one holds, as in
    files of ratings.
    """
    matcher = _Matcher(watch_list.entries, catalog, titles)
    chosen: dict[ItemId, MatchedEntry] = {}
    duplicates: list[MatchedEntry] = []
    unmatched: list[UnmatchedEntry] = []
    for entry in watch_list.entries:
        found = matcher.match(entry)
        if isinstance(found, UnmatchedEntry):
            unmatched.append(found)
            continue
        known = chosen.get(found.item_id)
        if known is not None and known.by == "id" and found.by == "title":
            duplicates.append(found)
        else:
            if known is not None:
                duplicates.append(known)
            chosen[found.item_id] = found
    return MatchedList(tuple(chosen[item_id] for item_id in sorted(chosen)), tuple(unmatched), tuple(duplicates))


class _Matcher:
    """Matches entries one by one, and looks for what is alike only so often."""

    def __init__(self, entries: Iterable[ListEntry], catalog: Catalog, titles: TitleIndex) -> None:
        self._titles = titles
        self._names = _name_known_items(entries, catalog)
        self._found: dict[str, TitleMatch | tuple[str, ...]] = {}
        self._n_lookups = 0

    def match(self, entry: ListEntry) -> MatchedEntry | UnmatchedEntry:
        if entry.item_id is not None:
            name = self._names.get(entry.item_id)
            if name is not None:
                return MatchedEntry(entry.item_id, name, entry.rating, entry.status, "id")
            return UnmatchedEntry(entry, self._suggest(entry.title))
        found = self._resolve(entry.title)
        if isinstance(found, TitleMatch):
            return MatchedEntry(found.item_id, found.title, entry.rating, entry.status, "title")
        return UnmatchedEntry(entry, found)

    def _resolve(self, title: str | None) -> TitleMatch | tuple[str, ...]:
        """Return the title that is named in full, else suggestions."""
        if title is None:
            return ()
        if title not in self._found and self._n_lookups < MAX_LOOKUPS:
            self._found[title] = self._look_up(title)
        return self._found.get(title, ())

    def _look_up(self, title: str) -> TitleMatch | tuple[str, ...]:
        try:
            match = self._titles.resolve(title, adult=True)  # named in full by the user's own list
        except UnknownTitleError as error:
            self._n_lookups += 1
            return tuple(error.suggestions[:MAX_SUGGESTIONS])
        if match.match in _WHOLE_TITLE:
            return match
        self._n_lookups += 1
        return tuple(dict.fromkeys([match.title, *(other.title for other in match.alternatives)]))[:MAX_SUGGESTIONS]

    def _suggest(self, title: str | None) -> tuple[str, ...]:
        found = self._resolve(title)
        return (found.title,) if isinstance(found, TitleMatch) else found


def _name_known_items(entries: Iterable[ListEntry], catalog: Catalog) -> Mapping[ItemId, str]:
    """Name the titles whose ids are in the list and in the catalog."""
    named = np.array(sorted({entry.item_id for entry in entries if entry.item_id is not None}), dtype=np.int64)
    known = named[catalog.contains(named)]
    names = catalog.items[ItemColumns.Title].iloc[catalog.positions(known)]
    return dict(zip(known.tolist(), names.tolist(), strict=True))
