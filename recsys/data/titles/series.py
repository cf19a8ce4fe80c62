"""Works by the name of their series: which one a season, a part, a year or a format selects."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from recsys.data.folding import join_words
from recsys.data.seasons import MAX_SEASON, Kind, ParsedTitle
from recsys.data.titles.names import Name, Works

_TYPES_OF_KIND: Final[dict[Kind, frozenset[str]]] = {
    "tv": frozenset({"tv"}),
    "movie": frozenset({"movie"}),
    "ova": frozenset({"ova"}),
    "ona": frozenset({"ona"}),
    "special": frozenset({"special"}),
    "recap": frozenset(),
    "music": frozenset({"music"}),
}


class Entry(NamedTuple):
    """A name under the name of its series; `is_whole` is False where its subtitle was left out."""

    name: Name
    is_whole: bool


@dataclass(frozen=True)
class SeriesIndex:
    """The names of each series, popular works first."""

    works: Works
    entries: dict[str, list[Entry]]  # by `join_words` of the series with the subtitle, and without it

    @classmethod
    def build(cls, names: Iterable[Name], works: Works) -> "SeriesIndex":
        """Group names that stand in order of popularity."""
        entries: dict[str, list[Entry]] = {}
        for name in names:
            parsed = name.parsed
            entries.setdefault(join_words(parsed.name), []).append(Entry(name, True))
            if parsed.subtitle and (parsed.season or parsed.part or parsed.is_final):
                entries.setdefault(join_words(parsed.base), []).append(Entry(name, False))
        return cls(works, entries)

    def find(self, key: str, asked: ParsedTitle) -> list[Name]:
        """Return the names under a key that are of the season, part, year and format asked for, best first.

        A number alone selects a season or, where no season has it, a part. The last season may be asked for by its
        number.
        """
        entries = self.entries.get(key, [])
        readings = [asked]
        if asked.season is not None and asked.part is None:
            if asked.is_bare or not any((entry.name.parsed.season or 1) > 1 for entry in entries):
                readings.append(replace(asked, season=None, part=asked.season))
            if asked.season == 1 + self._find_last_season(entries):
                readings.append(replace(asked, season=None, is_final=True))
        for reading in readings:
            found = [entry for entry in entries if self.fits(entry.name, reading, is_whole=entry.is_whole)]
            if found:
                return [name for name, _ in sorted(found, key=partial(self._order, asked=reading))]
        return []

    def list_works(self, key: str) -> list[Name]:
        """List the works of a series, each once: seasons and parts in their order, then others by popularity."""
        found: dict[int, Entry] = {}
        for entry in self.entries.get(key, []):
            found.setdefault(entry.name.position, entry)
        ordered = sorted(found.values(), key=self._order_in_series)
        return [entry.name for entry in ordered]

    def _find_last_season(self, entries: list[Entry]) -> int:
        return max((entry.name.parsed.season or 1 for entry in entries), default=1)

    def fits(self, name: Name, asked: ParsedTitle, *, is_whole: bool = True) -> bool:
        """Tell whether a name is of the season, part, year and format asked for.

        Season and part 1 need not be stated. A year alone selects among all seasons.
        """
        stated = name.parsed
        if asked.is_final != stated.is_final or not self._fits_format(name, asked, is_whole=is_whole):
            return False
        if asked.year is not None and asked.year not in (stated.year, self.works.years[name.position]):
            return False
        if asked.year is not None and asked.season is None:
            return True
        return (asked.season or 1) == (stated.season or 1) and (asked.part or 1) == (stated.part or 1)

    def _fits_format(self, name: Name, asked: ParsedTitle, *, is_whole: bool) -> bool:
        kind, work_type = name.parsed.kind, self.works.types[name.position]
        if asked.kind is None:
            return kind in (None, "tv") and (is_whole or not self.works.is_minor[name.position])
        if kind in (None, "tv"):
            return work_type in _TYPES_OF_KIND[asked.kind]
        return kind == asked.kind

    def _order(self, entry: Entry, asked: ParsedTitle) -> tuple[bool, bool, bool, bool, int]:
        """Sort series before specials, whole names and stated numbers first, then as namesakes."""
        name = entry.name
        is_stated = asked.season == name.parsed.season and asked.part == name.parsed.part
        return (
            self.works.is_minor[name.position] and asked.kind is None,
            not entry.is_whole,
            not is_stated,
            name.role != "exact",
            self.works.ranks[name.position],
        )

    def _order_in_series(self, entry: Entry) -> tuple[bool, int, int, int]:
        stated, rank = entry.name.parsed, self.works.ranks[entry.name.position]
        if self.works.is_minor[entry.name.position] or stated.kind not in (None, "tv"):
            return True, 0, 0, rank
        return False, MAX_SEASON + 1 if stated.is_final else stated.season or 1, stated.part or 1, rank
