"""Works by a whole name of theirs, and which of several namesakes comes first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recsys.data.folding import fold_title, fold_width, join_words
from recsys.data.seasons import ParsedTitle, parse_title, remove_decoration
from recsys.data.titles.names import Name, Works
from recsys.data.titles.parts import PartIndex
from recsys.data.titles.queries import Found, Query
from recsys.data.titles.series import SeriesIndex

EQUAL_SOUND = 0.98  # the probability that a name of other spaces and long vowels was typed

# The first sign of a key says what was folded; no folded title begins with one of them.
_PUNCTUATED, _SOUND = " ", "\t"


@dataclass(frozen=True)
class NameIndex:
    """The names of works by what is typed for them: with punctuation, folded, and by their sound."""

    works: Works
    series: SeriesIndex
    parts: PartIndex
    keys: dict[str, list[Name]]

    @classmethod
    def build(cls, names: Iterable[Name], works: Works, series: SeriesIndex, parts: PartIndex) -> "NameIndex":
        """Index names that stand in order of popularity, with and without year and format in parentheses."""
        keys: dict[str, list[Name]] = {}
        for name in names:
            for key in dict.fromkeys(_compute_keys(name)):
                keys.setdefault(key, []).append(name)
        return cls(works, series, parts, keys)

    def find(self, query: Query) -> list[Found]:
        """Return the works of this name: equal punctuation first, then equal letters, then an equal sound.

        Within each, default titles go before aliases and popular works before others. Recaps, specials and music videos
        come last, and behind their series where they carry its name in another language.
        """
        steps = [_PUNCTUATED + query.width, query.folded, *_compute_sounds(query.text, query.folded)]
        found: dict[int, tuple[int, Name]] = {}
        for step, key in enumerate(steps):
            for name in self.keys.get(key, ()):
                found.setdefault(name.position, (step, name))
        kept = set(self.works.select((name for _, name in found.values()), adult=query.adult))
        ranked = sorted((pair for pair in found.values() if pair[1] in kept), key=self._order)
        series = self._find_series(ranked[0][1], query) if ranked else []
        return [
            *(Found(name, "alias", 1.0) for name in series),
            *(Found(name, name.role, 1.0 if step < 2 else EQUAL_SOUND) for step, name in ranked),
        ]

    def _order(self, pair: tuple[int, Name]) -> tuple[bool, int, bool, bool, int]:
        step, name = pair
        is_minor, is_alias = self.works.is_minor[name.position], name.role == "alias"
        return is_minor and is_alias, step, is_minor, is_alias, self.works.ranks[name.position]

    def _find_series(self, name: Name, query: Query) -> list[Name]:
        """Return the series of a film, recap or special that carries the bare name of the series as an alias."""
        default = parse_title(self.works.titles[name.position])
        if name.role == "exact" or query.parsed.kind or not default.kind or default.subtitle:
            return []
        if not self._begins_others(name):
            return []
        found = self.series.find(join_words(default.base), ParsedTitle(default.base))
        return [other for other in found if not self.works.is_minor[other.position]]

    def _begins_others(self, name: Name) -> bool:
        """Tell whether names of other works begin with a name, as they do with that of their series."""
        return any(other.position != name.position for other in self.parts.find_prefix(name.folded))


def _compute_keys(name: Name) -> Iterator[str]:
    yield _PUNCTUATED + fold_width(name.text)
    yield name.folded
    yield from _compute_sounds(name.text, name.folded)
    bare = remove_decoration(name.text)
    if bare != name.text:
        yield _PUNCTUATED + fold_width(bare)
        yield fold_title(bare)
        yield from _compute_sounds(bare, fold_title(bare))


def _compute_sounds(text: str, folded: str) -> Iterator[str]:
    yield _SOUND + join_words(folded)
    if "&" in text or " and " in text:
        yield _SOUND + join_words(fold_title(fold_width(text).replace("&", " and ")))
