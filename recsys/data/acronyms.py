"""Find titles by the first letters of their words: `nge`, and `fma` where a word gives more letters than one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

MIN_LENGTH = 3
MAX_LENGTH = 6
_MIN_WORDS = 2
_MAX_WORDS = 8


@dataclass(frozen=True)
class AcronymIndex:
    """The first letters of the first words of many spellings."""

    words: list[list[str]]  # of each spelling
    places: dict[str, list[int]]  # first letters of the first 2..8 words -> spellings, in order

    @classmethod
    def build(cls, spellings: Sequence[str]) -> "AcronymIndex":
        """Look through folded spellings once."""
        words = [spelling.split() for spelling in spellings]
        places: dict[str, list[int]] = {}
        for place, parts in enumerate(words):
            initials = "".join(word[0] for word in parts[:_MAX_WORDS])
            for length in range(_MIN_WORDS, len(initials) + 1):
                places.setdefault(initials[:length], []).append(place)
        return cls(words, places)

    def find(self, acronym: str) -> Iterator[int]:
        """Yield the spellings whose words, or first words, have these initials; those without further words first."""
        if is_acronym(acronym):
            found = self.places.get(acronym, [])
            yield from (place for place in found if len(self.words[place]) == len(acronym))
            yield from found

    def guess(self, acronym: str) -> Iterator[int]:
        """Yield the spellings whose first words may be meant if words give several letters, most words first."""
        if not is_acronym(acronym):
            return
        first, rest = acronym[0], acronym[1:]
        for length in range(len(rest) - 1, 0, -1):
            for initials in dict.fromkeys(first + "".join(letters) for letters in combinations(rest, length)):
                for place in self.places.get(initials, ()):
                    if is_spelt_by(acronym, self.words[place][: len(initials)]):
                        yield place

    def occurs(self, acronym: str, place: int) -> bool:
        """Tell whether some words in a row of a spelling give an acronym."""
        if not is_acronym(acronym):
            return False
        words = self.words[place]
        return any(
            is_spelt_by(acronym, words[start : start + length])
            for start, word in enumerate(words)
            if word[0] == acronym[0]
            for length in range(_MIN_WORDS, min(len(acronym), len(words) - start) + 1)
        )


def is_acronym(word: str) -> bool:
    """Tell whether a folded word may be one: three to six plain letters or digits."""
    return MIN_LENGTH <= len(word) <= MAX_LENGTH and word.isascii() and word.isalnum()


def is_spelt_by(acronym: str, words: Sequence[str]) -> bool:
    """Tell whether the letters are, in order, the initial and perhaps more letters of each word.

    >>> is_spelt_by("fma", ["fullmetal", "alchemist"])
    True
    >>> is_spelt_by("fma", ["fullmetal", "brotherhood"])
    False
    """
    if not words:
        return not acronym
    if not acronym or acronym[0] != words[0][0]:
        return False
    at = 1  # how far into the first word its letters have come
    for used in range(1, len(acronym) + 1):
        if is_spelt_by(acronym[used:], words[1:]):
            return True
        if used == len(acronym):
            return False
        at = words[0].find(acronym[used], at) + 1
        if not at:
            return False
    return False
