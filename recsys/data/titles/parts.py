"""Names of which a text is a part: their begin, some of their letters, or some of their words.

All names stand in one text, those of popular works first, so that a scan may stop as soon as it has found enough: what
comes first is also what ranks first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice

from recsys.data.acronyms import PARTICLES, begins_with_acronym, is_acronym
from recsys.data.folding import join_words
from recsys.data.titles.matches import PartMatch
from recsys.data.titles.names import Name
from recsys.data.words import WordIndex

_MAX_COMBINED = 200  # works of which all names are read together
_AFTER_ALL = chr(0x10FFFF)
_MANY_NAMES = 500
_MIN_JOINED = 4  # letters without a space that may begin several words


@dataclass(frozen=True)
class PartIndex:
    """Every folded name of every work once; immutable, safe to share between threads."""

    names: list[Name]
    text: str  # a line break, a space and a folded name for each, and a last line break
    starts: list[int]  # where each name begins in `text`, and where the last one ends
    places: dict[int, list[int]]  # the names of each work
    words: WordIndex
    joined: list[tuple[str, int]]  # each name without spaces and its place, sorted

    @classmethod
    def build(cls, names: Sequence[Name]) -> "PartIndex":
        """Index names that stand in order of popularity."""
        works = (reversed(list(group)) for _, group in groupby(names, key=lambda name: name.position))
        unique = list({(name.position, name.folded): name for work in works for name in work}.values())
        spellings = [name.folded for name in unique]
        places: dict[int, list[int]] = {}
        for place, name in enumerate(unique):
            places.setdefault(name.position, []).append(place)
        return cls(
            names=unique,
            text="".join(f"\n {spelling}" for spelling in spellings) + "\n",
            starts=[0, *accumulate(len(spelling) + 2 for spelling in spellings)],
            places=places,
            words=WordIndex.build(spellings),
            joined=sorted((join_words(spelling), place) for place, spelling in enumerate(spellings)),
        )

    def contains(self, folded: str) -> bool:
        """Tell whether some name contains a text."""
        return bool(folded) and folded in self.text

    def find(self, folded: str, *, whole_words: bool = False) -> Iterator[tuple[PartMatch, Iterable[Name]]]:
        """Yield the kinds of match, the best first, each with the names that match so, popular ones first.

        Words in another order may be cut off at their end, unless `whole_words`; then particles do not count as words.
        """
        for match, places in self._stages(folded, whole_words):
            yield match, (self.names[place] for place in places)

    def find_with_acronyms(self, folded: str) -> Iterator[Name]:
        """Yield the names that hold every word, or begin with words that it abbreviates: `fma brotherhood`."""
        yield from (self.names[place] for place in self._scan_acronyms(folded.split()))

    def find_prefix(self, folded: str) -> Iterator[Name]:
        """Yield the names that begin with a text, popular ones first."""
        if folded:
            yield from (self.names[place] for place in self._scan_begins(folded))

    def find_whole(self, folded: str) -> Iterator[Name]:
        """Yield the names that contain the words of a text, whole and in a row, popular ones first."""
        if f" {folded} " in self.text or f" {folded}\n" in self.text:
            places = (place for place in self._scan(" " + folded) if f" {folded} " in f" {self.names[place].folded} ")
            yield from (self.names[place] for place in places)

    def _stages(self, folded: str, whole_words: bool) -> Iterator[tuple[PartMatch, Iterable[int]]]:
        if self.contains(folded):
            yield "prefix", self._scan_begins(folded)
            yield "substring", self._scan_words(folded)
            yield "substring", self._scan(folded)
        else:
            yield "prefix", self._scan_joined(folded)
        tokens = [f"{token} " if whole_words else token for token in folded.split()]
        if not whole_words or sum(token.rstrip() not in PARTICLES for token in tokens) > 1:
            yield "tokens", self._scan_tokens(tokens)
            yield "tokens", self._scan_combined(tokens)

    def _scan_begins(self, folded: str) -> Iterator[int]:
        """Yield the names that begin with a text, in order."""
        leading = self._find_leading(folded)
        if leading is None:
            yield from self._scan("\n " + folded)
        else:
            yield from (place for place in leading if self.names[place].folded.startswith(folded))

    def _scan_words(self, folded: str) -> Iterator[int]:
        """Yield the names of which some words begin with a text, in order."""
        leading = self._find_leading(folded)
        if leading is None:
            yield from self._scan(" " + folded)
        else:
            yield from (place for place in leading if self._holds(place, folded))

    def _find_leading(self, folded: str) -> list[int] | None:
        """Return the names that hold the first word of a text; None where they are so many that a scan finds enough."""
        first = folded.split(" ", 1)[0]
        return self.words.find(first) if self.words.count(first) < _MANY_NAMES else None

    def _scan(self, needle: str) -> Iterator[int]:
        """Yield the names that contain a text, in order; a space in it stands for the begin of a word."""
        at = self.text.find(needle)
        while at >= 0:
            place = bisect_right(self.starts, at) - 1
            yield place
            at = self.text.find(needle, self.starts[place + 1])

    def _scan_joined(self, folded: str) -> list[int]:
        """Return the names that begin with a text in other words: `fairyta` for `Fairy Tail`."""
        key = join_words(folded)
        if len(key) < _MIN_JOINED:
            return []
        first, end = bisect_left(self.joined, (key, -1)), bisect_left(self.joined, (key + _AFTER_ALL, -1))
        return sorted(place for _, place in self.joined[first:end])

    def _scan_tokens(self, tokens: list[str]) -> Iterator[int]:
        """Yield the names in which every word of the query begins a word, in whatever order."""
        counts = {token: self.words.count(token.rstrip()) for token in tokens}
        if len(tokens) < 2 or not all(counts.values()):
            return
        for place in self.words.find(min(counts, key=lambda token: counts[token]).rstrip()):
            if all(self._holds(place, token) for token in tokens):
                yield place

    def _scan_combined(self, tokens: list[str]) -> Iterator[int]:
        """Yield the works whose names together hold every word as the begin of a word."""
        counts = {token: self.words.count(token.rstrip()) for token in tokens}
        if len(tokens) < 2 or not all(counts.values()):
            return
        lead = min(counts, key=lambda token: counts[token]).rstrip()
        positions = dict.fromkeys(self.names[place].position for place in self.words.find(lead))
        for position in islice(positions, _MAX_COMBINED):
            places = self.places[position]
            if all(any(self._holds(place, token) for place in places) for token in tokens):
                yield places[0]

    def _scan_acronyms(self, tokens: list[str]) -> Iterator[int]:
        counts = {token: self.words.count(token) for token in tokens}
        known = {token: count for token, count in counts.items() if count}
        if len(tokens) < 2 or not known or not all(count or is_acronym(token) for token, count in counts.items()):
            return
        # What may be an acronym leads only where there is nothing else: its own words may be others.
        lead = min(known, key=lambda token: (is_acronym(token), known[token]))
        for place in self.words.find(lead)[:_MAX_COMBINED]:
            words = self.names[place].folded.split()
            unknown = [token for token in tokens if token not in words]
            if unknown and all(begins_with_acronym(words, token) for token in unknown):
                yield place

    def _holds(self, place: int, token: str) -> bool:
        return " " + token in f" {self.names[place].folded} "
