"""Resolve a title to the work that it names, and complete one that is being typed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from recsys.data.catalog import Catalog
from recsys.data.titles.abbreviations import AbbreviationIndex
from recsys.data.titles.matches import PartMatch, SearchMatch, TitleCandidate, TitleHit, TitleMatch
from recsys.data.titles.named import NameIndex
from recsys.data.titles.names import KNOWN_WORKS, Name, Works, read_names
from recsys.data.titles.parts import PartIndex
from recsys.data.titles.queries import Found, Query
from recsys.data.titles.series import SeriesIndex
from recsys.data.titles.typos import MIN_LENGTH, TypoIndex
from recsys.exceptions import UnknownTitleError

EQUAL_WORK: Final = 0.97  # the probability that a season, part, year or format was meant as parsed
SUGGESTION_SIMILARITY: Final = 0.78
MAX_ALTERNATIVES: Final = 5
MAX_SUGGESTIONS: Final = 5
MIN_PART: Final = 3  # letters of a title that are enough to look for it
MIN_SHARE: Final = 0.25  # of the letters of a name, where what is typed stands inside of it
MIN_SHARE_OF_OBSCURE: Final = 0.7  # the same at the begin of the name of a work that few know
LEAST_TRUST: Final = 0.5
MOST_TRUST: Final = 0.9


@dataclass(frozen=True)
class TitleIndex:
    """Every name of every work; immutable, safe to share between threads."""

    works: Works
    named: NameIndex
    series: SeriesIndex
    abbreviations: AbbreviationIndex
    parts: PartIndex
    typos: TypoIndex

    @classmethod
    def build(cls, catalog: Catalog) -> "TitleIndex":
        """Fold, parse and index the titles of a catalog; about two seconds for 17,500 items."""
        works = Works.build(catalog)
        names = read_names(catalog, works)
        series, parts = SeriesIndex.build(names, works), PartIndex.build(names)
        return cls(
            works=works,
            named=NameIndex.build(names, works, series, parts),
            series=series,
            abbreviations=AbbreviationIndex.build(names, works, series),
            parts=parts,
            typos=TypoIndex.build(names, works, series),
        )

    def resolve(self, title: str, *, adult: bool = False) -> TitleMatch:
        """Find the one item that a title stands for.

        In this order: an equal name, an equal name but for spaces and long vowels, the season, part, year or format of
        a known series, an acronym or a part of a name, a misspelling. Among equal names default titles go before
        aliases, series and films before recaps, specials and music videos, and popular items before others.

        Parameters
        ----------
        title
            What was typed; no more than 200 characters of it are read.
        adult
            Whether the item may be one for adults only.

        Raises
        ------
        UnknownTitleError
            If no name is near enough, or a known series has no such season; carries up to five suggestions.
        """
        query = Query.parse(title, adult=adult)
        found = self.named.find(query) or self._find_season(query)
        if not found and query.states_number:
            found = self._find_whole_part(query) or self._refuse_unknown_season(query)
        found = found or self._find_acronyms_and_parts(query) or self.typos.find(query)
        found = found or self.abbreviations.find(query, letters=True) or self._find_combined(query)
        if not found:
            raise UnknownTitleError(query.text, self._suggest(query))
        best, *others = _drop_repeated(found)
        chosen = self._candidate(best)
        alternatives = [self._candidate(other) for other in others[:MAX_ALTERNATIVES]]
        return TitleMatch(chosen.item_id, chosen.title, best.match, chosen.confidence, alternatives)

    def search(self, query: str, limit: int = 10, *, adult: bool = False) -> list[TitleHit]:
        """Complete what is being typed, best first: by kind of match, then by popularity, each item once."""
        asked = Query.parse(query, adult=adult)
        hits: dict[int, TitleHit] = {}
        for match, names in self._stages(asked):
            for name in self.works.select(names, adult=adult):
                if len(hits) >= limit:
                    return list(hits.values())
                if name.position not in hits:
                    hits[name.position] = TitleHit(
                        int(self.works.item_ids[name.position]), self.works.titles[name.position], name.text, match
                    )
        return list(hits.values())

    def _stages(self, query: Query) -> Iterator[tuple[SearchMatch, Iterable[Name]]]:
        """Yield the kinds of match, the best first, each with the names that match so."""
        yield "exact", (found.name for found in self.named.find(query) or self._find_season(query))
        acronyms = [found.name for found in self.abbreviations.find(query, letters=len(query.folded) < MIN_LENGTH)]
        first = next(self.works.select(self.parts.find_prefix(query.folded), adult=query.adult), None)
        if acronyms and (first is None or self._compare(acronyms[0], first) > 0):
            yield "acronym", acronyms[:1]
        yield from self.parts.find(query.folded)
        yield "acronym", acronyms
        yield "acronym", (found.name for found in self.abbreviations.find(query, letters=True))
        yield "acronym", self.parts.find_with_acronyms(query.folded)
        if not self.parts.contains(query.folded):
            yield "typo", (found.name for found in self.typos.find(query))

    def _compare(self, one: Name, other: Name) -> float:
        """Tell by how many members one work is more popular than another."""
        return self.works.members[one.position] - self.works.members[other.position]

    def _find_season(self, query: Query) -> list[Found]:
        """Return the works of a series that are of the season, part, year and format that are typed."""
        if not query.parsed.states_work:
            return []
        names = self.series.find(query.series_key, query.parsed)
        return [Found(name, name.role, EQUAL_WORK) for name in self.works.select(names, adult=query.adult)]

    def _refuse_unknown_season(self, query: Query) -> list[Found]:
        """Raise with the works of a known series; return nothing for an unknown one.

        Raises
        ------
        UnknownTitleError
            Carries the works of the series in their order.
        """
        works = self.works.select(self.series.list_works(query.series_key), adult=query.adult)
        titles = [self.works.titles[name.position] for name in works]
        if titles:
            raise UnknownTitleError(query.text, titles[:MAX_SUGGESTIONS])
        return []

    def _find_acronyms_and_parts(self, query: Query) -> list[Found]:
        """Return acronyms, and names of which the query is a part; the kind whose first is more popular goes first."""
        acronyms, parts = (
            self.abbreviations.find(query, letters=len(query.folded) < MIN_LENGTH),
            self._find_parts(query),
        )
        if acronyms and parts and self._compare(parts[0].name, acronyms[0].name) >= 0:
            return parts + acronyms
        return acronyms + parts

    def _find_whole_part(self, query: Query) -> list[Found]:
        """Return names that contain what is typed with its numbers: `stand alone complex 2nd`."""
        return self._trust([("substring", self.parts.find_whole(query.folded))], query.folded, query)

    def _find_parts(self, query: Query) -> list[Found]:
        """Return for a few works a name that the query is a part of, best kind of match and popular works first.

        A season, part or year is not looked for as a word, but compared with what the names state.
        """
        folded = query.parsed.name if query.states_number else query.folded
        if len(folded) < (MIN_PART if folded.isascii() else 2):
            return []
        return self._trust(self.parts.find(folded, whole_words=True), folded, query)

    def _find_combined(self, query: Query) -> list[Found]:
        """Return names that hold every word as the begin of a word or as an acronym."""
        return self._trust([("acronym", self.parts.find_with_acronyms(query.folded))], query.folded, query)

    def _trust(self, stages: Iterable[tuple[PartMatch, Iterable[Name]]], folded: str, query: Query) -> list[Found]:
        """Return the first works of some stages that are known well enough to be meant by a part of a name.

        The confidence grows with the share of the letters that were typed.
        """
        found: dict[int, Found] = {}
        for match, names in stages:
            for name in self.works.select(names, adult=query.adult):
                share = min(1.0, len(folded) / len(name.folded))
                if not self._is_enough(match, folded, share, name) or not self._fits_number(name, query):
                    continue
                found.setdefault(name.position, Found(name, match, LEAST_TRUST + (MOST_TRUST - LEAST_TRUST) * share))
                if len(found) > MAX_ALTERNATIVES:
                    return list(found.values())
        return list(found.values())

    def _is_enough(self, match: PartMatch, folded: str, share: float, name: Name) -> bool:
        """Tell whether a part selects a work: the begin of a known one, more of another."""
        if not self.works.is_known(name.position):
            return match == "prefix" and " " in folded and share >= MIN_SHARE_OF_OBSCURE
        return match != "substring" or (share >= MIN_SHARE and self.works.ranks[name.position] < KNOWN_WORKS)

    def _fits_number(self, name: Name, query: Query) -> bool:
        return not query.states_number or query.folded in name.folded or self.series.fits(name, query.parsed)

    def _suggest(self, query: Query) -> list[str]:
        """Return up to five titles that contain the words, or failing that look alike."""
        titles = [hit.title for hit in self.search(query.text, MAX_SUGGESTIONS, adult=query.adult)]
        if len(titles) < MAX_SUGGESTIONS:
            similar = self.works.select(self.typos.find_similar(query, SUGGESTION_SIMILARITY), adult=query.adult)
            titles += [self.works.titles[name.position] for name in islice(similar, MAX_SUGGESTIONS)]
        return list(dict.fromkeys(titles))[:MAX_SUGGESTIONS]

    def _candidate(self, found: Found) -> TitleCandidate:
        position = found.name.position
        return TitleCandidate(int(self.works.item_ids[position]), self.works.titles[position], found.confidence)


def _drop_repeated(found: list[Found]) -> list[Found]:
    """Keep the first name of each work."""
    first: dict[int, Found] = {}
    for one in found:
        first.setdefault(one.name.position, one)
    return list(first.values())
