"""Works by an acronym of the name of their series, with the season if one is typed: `sao 2`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recsys.data.acronyms import FIRST_INITIALS, INITIALS, AcronymIndex
from recsys.data.folding import join_words
from recsys.data.titles.names import Name, Works
from recsys.data.titles.queries import Found, Query
from recsys.data.titles.series import SeriesIndex

LEAST = 0.5
MOST = 0.85
MOST_OF_OTHERS = 0.7  # where other letters than initials were typed, or few know the work


@dataclass(frozen=True)
class AbbreviationIndex:
    """The acronyms of the names of series."""

    works: Works
    series: SeriesIndex
    names: list[str]
    acronyms: AcronymIndex

    @classmethod
    def build(cls, names: Sequence[Name], works: Works, series: SeriesIndex) -> "AbbreviationIndex":
        """Index names that stand in order of popularity."""
        bases = list(dict.fromkeys(name.parsed.name for name in names if not works.is_minor[name.position]))
        return cls(works, series, bases, AcronymIndex.build(bases))

    def find(self, query: Query, *, letters: bool) -> list[Found]:
        """Return the works that an acronym may stand for, weighed by popularity.

        Parameters
        ----------
        letters
            Whether words may give more letters than their initials: `fma` for Fullmetal Alchemist.
        """
        best: dict[int, tuple[float, float, Name]] = {}
        for place, weight in self.acronyms.find(query.parsed.name):
            if not letters and weight not in (INITIALS, FIRST_INITIALS):
                continue
            name = self._select(self.names[place], query)
            if name is not None and (weight == INITIALS or self.works.is_known(name.position)):
                value = weight * self.works.members[name.position]
                best[name.position] = max((value, weight, name), best.get(name.position, (0.0, 0.0, name)))
        ranked = sorted(best.values(), key=lambda entry: -entry[0])
        total = sum(value for value, _, _ in ranked)
        return [Found(name, "acronym", self._trust(name, weight, value / total)) for value, weight, name in ranked]

    def _trust(self, name: Name, weight: float, share: float) -> float:
        most = MOST if weight == INITIALS and self.works.is_known(name.position) else MOST_OF_OTHERS
        return LEAST + (most - LEAST) * share

    def _select(self, base: str, query: Query) -> Name | None:
        asked = replace(query.parsed, base=base, subtitle="")
        return next(self.works.select(self.series.find(join_words(base), asked), adult=query.adult), None)
