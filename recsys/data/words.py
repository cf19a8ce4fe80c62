"""Which spellings hold a word that begins with some letters, without looking through all of them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

_AFTER_ALL = chr(0x10FFFF)


@dataclass(frozen=True)
class WordIndex:
    """The words of many spellings, sorted, and where each stands."""

    words: list[str]
    places: list[list[int]]  # of each word, the spellings that hold it, ascending

    @classmethod
    def build(cls, spellings: Sequence[str]) -> "WordIndex":
        """Look through folded spellings once."""
        found: dict[str, list[int]] = {}
        for place, spelling in enumerate(spellings):
            for word in dict.fromkeys(spelling.split()):
                found.setdefault(word, []).append(place)
        words = sorted(found)
        return cls(words, [found[word] for word in words])

    def count(self, prefix: str) -> int:
        """Count the spellings that hold words with this begin, one that holds several perhaps more than once."""
        return sum(map(len, self.places[self._range(prefix)]))

    def find(self, prefix: str) -> list[int]:
        """Return the spellings that hold a word with this begin, ascending."""
        return sorted(set(chain.from_iterable(self.places[self._range(prefix)])))

    def _range(self, prefix: str) -> slice:
        return slice(bisect_left(self.words, prefix), bisect_left(self.words, prefix + _AFTER_ALL))
