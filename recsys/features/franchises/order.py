"""Which seasons come before a title of a franchise.

A franchise has main seasons, series for the most part, and works beside them: films, specials, recaps. A season follows
an earlier one if its name says so (`Overlord II`), or if nearly all who rated it rated the earlier one as well. Most
viewers begin with the first season, so a title with clearly more members than another is no sequel of it: remakes and
retellings begin a line of their own. A work beside the main seasons comes after those that aired before it.
"""

import datetime as dt
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.columns import ItemColumns
from recsys.data.seasons import ParsedTitle, parse_title
from recsys.features.franchises.names import COLUMNS
from recsys.features.franchises.relations import Relations
from recsys.types import Mask, RatingMatrix

SHORT_MINUTES: Final = 10.0  # episodes of a main season are no shorter
MIN_EPISODES: Final = 6  # of a main season that was not on television
MORE_MEMBERS: Final = 1.15  # how many times the members of the first season a later one has at most
RELATED_SHARE: Final = 0.6  # of the users of a season who rated the one before, if the names are related
UNRELATED_SHARE: Final = 0.85  # the same, if they are not
LINE_SHARE: Final = 0.4  # of those who rated a later season of the line that the season continues
MIN_KNOWN, MIN_UNRELATED = 8, 20  # ratings from which these shares mean something
_MINOR: Final = frozenset({"special", "recap", "music"})
FINAL: Final = 20  # the number of a season that is called the last one
_LATE: Final = dt.date(9999, 1, 1)


@dataclass
class _Work:
    """A title as the order reads it."""

    position: int
    kind: str  # type in lower case
    day: dt.date
    minutes: float
    episodes: float
    members: float
    parsed: list[ParsedTitle]
    wholes: set[str]
    heads: set[str]
    before: set[int] = field(default_factory=set)

    @property
    def states_minor(self) -> bool:
        """Whether a name says that it is a recap, a special or a music video."""
        return any(parsed.kind in _MINOR for parsed in self.parsed)

    @property
    def is_series(self) -> bool:
        """Whether it looks like a main season."""
        if self.states_minor or self.minutes < SHORT_MINUTES:
            return False
        return self.kind == "tv" or (self.kind == "ona" and self.episodes >= MIN_EPISODES)

    @property
    def number(self) -> tuple[int, int]:
        """Season and part, 1 where none is stated; a final season is the last one."""
        season = max((FINAL if parsed.is_final else parsed.season or 1 for parsed in self.parsed), default=1)
        return season, max((parsed.part or 1 for parsed in self.parsed), default=1)

    @property
    def bases(self) -> set[str]:
        """Names of the series."""
        return {parsed.base for parsed in self.parsed}

    def count_letters(self, later: "_Work") -> int:
        """Return the letters of the longest name of this work that another one bears or continues, 0 for none."""
        shared = (self.heads & later.heads) | (self.wholes & later.wholes)
        continued = {whole for whole in self.wholes for other in later.wholes if other.startswith(f"{whole} ")}
        return max(map(len, shared | continued), default=0)

    def is_named_after(self, other: "_Work") -> bool:
        """Whether a name continues one of the other, or both have a head in common."""
        return other.count_letters(self) > 0


def find_requirements(relations: Relations, numbers: npt.NDArray[np.int64]) -> tuple[Mask, RatingMatrix]:
    """Tell which titles are main seasons, and which main seasons come before each title.

    Returns
    -------
    `(n_items,)`, and CSR `(n_items, n_items)` with a one for each season that comes before the title of a row.
    """
    n_items = len(numbers)
    is_main = np.ones(n_items, dtype=np.bool_)
    before: list[set[int]] = [set() for _ in range(n_items)]
    members: dict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(numbers.tolist()):
        members[number].append(position)
    for positions in members.values():
        if len(positions) == 1:
            continue
        franchise = _Franchise(relations, positions)
        franchise.order()
        for work in franchise.works:
            before[work.position] = work.before
            is_main[work.position] = work.position in franchise.main
    counts = [len(positions) for positions in before]
    indices = np.array([other for positions in before for other in sorted(positions)], dtype=np.int32)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return is_main, csr_matrix((np.ones(len(indices), dtype=np.float32), indices, indptr), shape=(n_items, n_items))


class _Franchise:
    """The works of one franchise, the first to air first, and which of them are main seasons."""

    def __init__(self, relations: Relations, positions: list[int]) -> None:
        self.works = sorted(_read_works(relations, positions), key=lambda work: (work.day, work.number, work.position))
        rows = relations.raters[np.array([work.position for work in self.works])]
        together = (rows @ rows.T).toarray()
        self._counts = together.diagonal()
        self._shares = together / np.maximum(self._counts, 1)[:, None]  # of the users of a row who rated the column
        self._studios = [relations.studios[work.position] for work in self.works]
        self.main: set[int] = set()

    @cached_property
    def _letters(self) -> npt.NDArray[np.int64]:
        """Letters of the name of the row that the column bears or continues, `(n_works, n_works)`."""
        return np.array([[work.count_letters(other) for other in self.works] for work in self.works], dtype=np.int64)

    def order(self) -> None:
        """Choose main seasons and set what comes before each work."""
        places = self._choose_main()
        self.main = {self.works[place].position for place in places}
        for index, place in enumerate(places):
            previous = self._find_previous(place, places[:index])
            if previous is not None:
                self.works[place].before = self.works[previous].before | {self.works[previous].position}
        for place, work in enumerate(self.works):
            if work.position not in self.main:
                self._place_beside(place, places)

    def _choose_main(self) -> list[int]:
        """Return the places of the main seasons; where there is no series, those of the best known type."""
        series = [place for place, work in enumerate(self.works) if work.is_series]
        if not series:
            rest = [place for place, work in enumerate(self.works) if not work.states_minor] or [0]
            best = max(rest, key=lambda place: (self.works[place].kind != "music", self.works[place].members, -place))
            return [place for place in rest if self.works[place].kind == self.works[best].kind]
        # A film that is better known than the series is watched without it.
        most = max(self.works[place].members for place in series)
        films = [
            place
            for place, work in enumerate(self.works)
            if work.kind == "movie" and not work.states_minor and work.members > MORE_MEMBERS * most
        ]
        return sorted(series + films)

    def _find_previous(self, place: int, earlier: list[int]) -> int | None:
        """Return the main season that comes just before one, None for the first of a line."""
        best = self._find_lower(place, earlier)
        if best is None:
            follows = [other for other in earlier if self._follows(place, other, earlier)]
            if not follows:
                return None
            best = max(follows, key=lambda other: (self._count_letters(place, other, earlier), other))
        line = [other for other in earlier if self.works[best].position in self.works[other].before]
        return max([best, *(other for other in line if self._shares[place, other] >= LINE_SHARE)])

    def _find_lower(self, place: int, earlier: list[int]) -> int | None:
        """Return the season of the same name that comes before by its number; None where no name states one."""
        work = self.works[place]
        if work.number == (1, 1):
            return None
        same = [other for other in earlier if self.works[other].bases & work.bases]
        lower = [other for other in same if self.works[other].number < work.number]
        if not lower:
            return same[-1] if same and work.number[0] == FINAL else None
        return max(lower, key=lambda other: (self.works[other].number, other))

    def _count_letters(self, place: int, other: int, earlier: list[int]) -> int:
        """Return the letters of the name that one work continues and another is or continues as well, 0 for none.

        Of `earlier`, ascending, those before the other count.
        """
        roots = earlier[: bisect_left(earlier, other)]
        shared = np.minimum(self._letters[roots, other], self._letters[roots, place])
        return int(max(self._letters[other, place], shared.max(initial=0)))

    def _follows(self, place: int, other: int, earlier: list[int]) -> bool:
        """Whether a season without a number follows another, by its users and its name."""
        work, first = self.works[place], self.works[other]
        most = max(known.members for known in self.works if known is first or known.position in first.before)
        if work.members > MORE_MEMBERS * max(most, 1.0):
            return False
        share, count = self._shares[place, other], self._counts[place]
        if self._count_letters(place, other, earlier):
            is_retold = bool(work.wholes & first.wholes) and not work.heads - first.wholes
            return bool(share >= RELATED_SHARE) if count >= MIN_KNOWN else not is_retold
        same_studio = bool(self._studios[place] & self._studios[other])
        return bool(same_studio and count >= MIN_UNRELATED and share >= UNRELATED_SHARE)

    def _continues(self, place: int, other: int, beside: list[int]) -> bool:
        """Whether a film comes after another one, by its number or its users."""
        work, first = self.works[place], self.works[other]
        numbered = (1, 1) <= first.number < work.number and bool(first.bases & work.bases)
        return numbered or self._follows(place, other, beside)

    def _place_beside(self, place: int, main: list[int]) -> None:
        """Let a film, special or recap follow the main seasons of its line that began before it."""
        work = self.works[place]
        aired = [other for other in main if self.works[other].day <= work.day] or main[:1]
        named = [other for other in aired if work.is_named_after(self.works[other])] or aired
        anchor = max(named, key=lambda other: (self._shares[place, other] >= RELATED_SHARE, other))
        line = {self.works[anchor].position} | self.works[anchor].before
        later = (self.works[other] for other in aired if self.works[anchor].position in self.works[other].before)
        work.before = line | {other.position for other in later}
        beside = [
            other
            for other in range(place)
            if self.works[other].kind == work.kind == "movie" and self.works[other].position not in self.main
        ]
        films = [
            other for other in beside if not self.works[other].states_minor and self._continues(place, other, beside)
        ]
        if films and not work.states_minor:  # a series of films
            work.before |= {self.works[films[-1]].position} | self.works[films[-1]].before


def _read_works(relations: Relations, positions: list[int]) -> list[_Work]:
    items = relations.catalog.items
    rows = items.iloc[positions]
    works = []
    for position, (_, row) in zip(positions, rows.iterrows(), strict=True):
        names = [row[column] for column in COLUMNS if isinstance(row[column], str)]
        kind, day = row[ItemColumns.Type], row[ItemColumns.AiredFrom]
        works.append(
            _Work(
                position,
                kind.casefold() if isinstance(kind, str) else "",
                day if isinstance(day, dt.date) else _LATE,
                _to_number(row[ItemColumns.DurationMinutes], 24.0),
                _to_number(row[ItemColumns.Episodes], 12.0),
                _to_number(row[ItemColumns.Members], 0.0),
                [parse_title(name) for name in names],
                relations.names.list_wholes(position),
                relations.names.list_heads(position),
            )
        )
    return works


def _to_number(value: float, otherwise: float) -> float:
    return float(value) if value is not None and np.isfinite(value) else otherwise
