"""Works whose name a text misspells, and how probable it is that they are what was typed.

Jaro-Winkler similarity alone takes `Legend of Korra` for `Legend of Duo`: it forgives everything behind an equal
begin. So a misspelling also has few edits for its length, the same numbers, in a short name the same words, and of an
obscure work only a single slip in a long name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jellyfish

from recsys.data.folding import compute_similarity
from recsys.data.spelling import SpellingIndex
from recsys.data.titles.names import Name, Works
from recsys.data.titles.queries import Found, Query
from recsys.data.titles.series import SeriesIndex

MIN_SIMILARITY = 0.9
MIN_LENGTH = 4

_LONG = 10  # letters of a name in which one slip is trusted whoever knows the work
_ROMANS = frozenset({"ii", "iii", "iv", "vi", "vii", "viii", "ix"})


@dataclass(frozen=True)
class TypoIndex:
    """The names that may be misspelled, words joined: whole ones, and those of series without season and format."""

    works: Works
    series: SeriesIndex
    of_series: dict[str, list[Name]]
    of_works: dict[str, list[Name]]
    keys: list[str]
    similar: SpellingIndex

    @classmethod
    def build(cls, names: Sequence[Name], works: Works, series: SeriesIndex) -> "TypoIndex":
        """Index names that stand in order of popularity."""
        of_series: dict[str, list[Name]] = {}
        of_works: dict[str, list[Name]] = {}
        for name in names:
            key, whole = name.parsed.name.replace(" ", ""), name.folded.replace(" ", "")
            if len(key) >= MIN_LENGTH:
                of_series.setdefault(key, []).append(name)
            if whole != key and len(whole) >= MIN_LENGTH:
                of_works.setdefault(whole, []).append(name)
        keys = list(dict.fromkeys([*of_series, *of_works]))
        return cls(works, series, of_series, of_works, keys, SpellingIndex.build(keys))

    def find(self, query: Query) -> list[Found]:
        """Return the works that a query misspells, fewest edits first, then popular ones.

        What follows the name of a series is compared as a number or format where it could be parsed, and is part of
        the name where it is misspelled itself: `Baby Steps 2nd Seakson`.
        """
        ranked: dict[int, tuple[int, bool, int, Found]] = {}
        for edits, name in self._iterate(query):
            length = max(len(query.folded), len(name.folded))
            found = Found(name, "typo", compute_confidence(edits, length))
            is_unstated = name.parsed.season != query.parsed.season
            entry = edits, is_unstated, self.works.ranks[name.position], found
            if name.position not in ranked or entry[:2] < ranked[name.position][:2]:
                ranked[name.position] = entry
        return [found for *_, found in sorted(ranked.values(), key=lambda entry: entry[:3])]

    def find_similar(self, query: Query, similarity: float) -> Iterator[Name]:
        """Yield names above a similarity, most similar first."""
        key = query.parsed.name.replace(" ", "")
        near = [(compute_similarity(key, self.keys[place]), -place) for place in self.similar.prune(key, similarity)]
        for value, place in sorted(near, reverse=True):
            if value > similarity:
                found = self.keys[-place]
                yield from self.of_series.get(found) or self.of_works[found]

    def _iterate(self, query: Query) -> Iterator[tuple[int, Name]]:
        series, whole = query.parsed.name, query.folded
        for edits, key in self._find_keys(series.replace(" ", "")):
            for name in self.works.select(self.of_series.get(key, ()), adult=query.adult):
                if self.series.fits(name, query.parsed) and self._is_slip(series, name.parsed.name, edits, name):
                    yield edits, name
        for edits, key in self._find_keys(whole.replace(" ", "")):
            for name in self.works.select(self.of_works.get(key, ()), adult=query.adult):
                if self._is_slip(whole, name.folded, edits, name):
                    yield edits, name

    def _find_keys(self, typed: str) -> Iterator[tuple[int, str]]:
        """Yield the joined names within the edits allowed, and similar."""
        most = count_allowed_edits(len(typed))
        for place in self.similar.prune_edits(typed, most).tolist() if most else ():
            key = self.keys[place]
            edits = jellyfish.damerau_levenshtein_distance(typed, key)
            if edits <= most and compute_similarity(typed, key) > MIN_SIMILARITY:
                yield edits, key

    def _is_slip(self, typed: str, folded: str, edits: int, name: Name) -> bool:
        """Tell whether a name was probably meant, by what differs and how well the work is known."""
        if not is_misspelling(typed, folded):
            return False
        is_long = min(len(typed), len(folded)) >= _LONG
        return self.works.is_known(name.position) or (is_long and edits == 1)


def compute_confidence(edits: int, length: int) -> float:
    """Return a cautious probability that a text of so many letters, so many edits away, names a work.

    Of generated misspellings more are right (docs/title-search.md), but a text may also name a work of no catalog.
    """
    return max(0.5, 0.99 - 0.5 * edits / length)


def count_allowed_edits(length: int) -> int:
    """Return how many edits a text of so many letters may be away from a name."""
    return 0 if length < MIN_LENGTH else 1 if length < 8 else 2 if length < 14 else 3 if length < 22 else 4


def is_misspelling(typed: str, name: str) -> bool:
    """Tell whether two similar folded names differ as by a slip: not in a number, a short name not in its words.

    >>> is_misspelling("lupin ii", "lupin iii")
    False
    >>> is_misspelling("wall e", "wall")
    False
    """
    if _read_numbers(typed) != _read_numbers(name):
        return False
    return min(len(typed), len(name)) >= 8 or len(typed.split()) == len(name.split())


def _read_numbers(folded: str) -> list[str]:
    digits = [sign for sign in folded if sign.isdigit()]
    return digits + [word for word in folded.split() if word in _ROMANS]
