"""Find names by the first letters of their words: `nge`, and `fma` where a word gives more letters than one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

MIN_LENGTH: Final = 3
MAX_LENGTH: Final = 6
INITIALS: Final = 1.0  # the initials of all words
LETTERS: Final = 0.3  # letters of all words, the initial of each among them
FIRST_INITIALS: Final = 0.15  # the same of the first words alone
FIRST_LETTERS: Final = 0.05
PARTICLES: Final = frozenset({"the", "of", "a", "an", "and", "to", "in", "no", "wa", "ga", "wo", "ni"})

_MIN_WORDS = 2
_MAX_WORDS = 8
_MAX_LETTERS = 4  # a longer word is a word rather than letters of several
_MAX_FOUND = 20  # names of the same initials, popular ones first
_MAX_READ = 300  # names, popular ones first, in which letters are looked for


@dataclass(frozen=True)
class AcronymIndex:
    """The first letters of the first words of many names."""

    words: list[list[str]]  # of each name
    places: dict[str, list[int]]  # first letters of the first 2..8 words -> names, in order
    whole: dict[str, list[int]]  # the same for all words, with and without particles

    @classmethod
    def build(cls, names: Sequence[str]) -> "AcronymIndex":
        """Index folded names, popular ones first."""
        words = [name.split() for name in names]
        places: dict[str, list[int]] = {}
        whole: dict[str, list[int]] = {}
        for place, parts in enumerate(words):
            initials = _read_initials(parts)[:_MAX_WORDS]
            for length in range(_MIN_WORDS, len(initials) + 1):
                places.setdefault(initials[:length], []).append(place)
            for key in {_read_initials(parts), _read_initials(word for word in parts if word not in PARTICLES)}:
                if is_acronym(key):
                    whole.setdefault(key, []).append(place)
        return cls(words, places, whole)

    def find(self, acronym: str) -> Iterator[tuple[int, float]]:
        """Yield the names that an acronym may stand for, each with a weight from 0 to 1, not sorted by it."""
        if not is_acronym(acronym):
            return
        for place in self.whole.get(acronym, ())[:_MAX_FOUND]:
            yield place, INITIALS
        for place in self.places.get(acronym, ())[:_MAX_FOUND]:
            yield place, FIRST_INITIALS
        if len(acronym) > _MAX_LETTERS:
            return
        first, rest = acronym[0], acronym[1:]
        for length in range(len(rest) - 1, 0, -1):
            for initials in dict.fromkeys(first + "".join(letters) for letters in combinations(rest, length)):
                yield from self._find_letters(acronym, initials)

    def _find_letters(self, acronym: str, initials: str) -> Iterator[tuple[int, float]]:
        for place in islice(self.places.get(initials, ()), _MAX_READ):
            words = self.words[place]
            if is_abbreviation(acronym, words[: len(initials)]):
                yield place, LETTERS if len(words) == len(initials) else FIRST_LETTERS


def is_acronym(word: str) -> bool:
    """Tell whether a folded word may be one: three to six plain letters or digits."""
    return MIN_LENGTH <= len(word) <= MAX_LENGTH and word.isascii() and word.isalnum()


def begins_with_acronym(words: Sequence[str], acronym: str) -> bool:
    """Tell whether an acronym abbreviates the first words of a name.

    >>> begins_with_acronym(["fullmetal", "alchemist", "brotherhood"], "fma")
    True
    """
    if not is_acronym(acronym):
        return False
    longest = min(len(acronym), len(words))
    return any(is_abbreviation(acronym, words[:length]) for length in range(_MIN_WORDS, longest + 1))


def is_abbreviation(acronym: str, words: Sequence[str]) -> bool:
    """Tell whether the letters are, in order, the initial and perhaps more letters of each word.

    >>> is_abbreviation("fma", ["fullmetal", "alchemist"])
    True
    >>> is_abbreviation("fma", ["fullmetal", "brotherhood"])
    False
    """
    if not words:
        return not acronym
    if not acronym or acronym[0] != words[0][0]:
        return False
    at = 1  # the next letter of the first word
    for used in range(1, len(acronym) + 1):
        if is_abbreviation(acronym[used:], words[1:]):
            return True
        if used == len(acronym):
            return False
        at = words[0].find(acronym[used], at) + 1
        if not at:
            return False
    return False


def _read_initials(words: Iterable[str]) -> str:
    return "".join(word[0] for word in words)
