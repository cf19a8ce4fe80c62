"""Find the title that a user means: exact, by alias, by prefix, by parts, by acronym, or in spite of a typo.

All spellings of all items stand in one text, the most popular items first, so that a scan may stop as soon as it has
found enough: what comes first is also what ranks first.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Literal

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.acronyms import AcronymIndex, is_acronym
from recsys.data.catalog import Catalog
from recsys.data.folding import MAX_QUERY_LENGTH, compute_similarity, fold_title, fold_width
from recsys.data.spelling import SpellingIndex
from recsys.data.words import WordIndex
from recsys.exceptions import UnknownTitleError
from recsys.types import Ids, Positions

TYPO_SIMILARITY = 0.9
SUGGESTION_SIMILARITY = 0.8
MAX_ALTERNATIVES = 5
MIN_PART = 3  # letters of a title that are enough to mean it

_MAX_COMBINED = 200  # items whose titles are looked at together

PartMatch = Literal["prefix", "substring", "tokens", "acronym"]
Match = Literal["exact", "alias", "prefix", "substring", "tokens", "acronym", "typo"]
SearchMatch = Literal["exact", "prefix", "substring", "tokens", "acronym", "typo"]


@dataclass(frozen=True)
class TitleCandidate:
    """An item that was perhaps meant, and how sure that is (0..1)."""

    item_id: int
    title: str
    confidence: float


@dataclass(frozen=True)
class TitleMatch:
    """The item that a title stands for.

    `match` is exact for its default title, alias for another of its titles; prefix, substring, tokens or acronym where
    only a part of a title was given; typo for a similar one.
    """

    item_id: int
    title: str
    match: Match
    confidence: float
    alternatives: list[TitleCandidate]


@dataclass(frozen=True)
class TitleHit:
    """One line of a completion list: `matched` is the spelling that was found."""

    item_id: int
    title: str
    matched: str
    match: SearchMatch


@dataclass(frozen=True)
class TitleIndex:
    """Every spelling of every item, most popular items first; immutable, safe to share between threads."""

    item_ids: Ids
    titles: list[str]
    exact: dict[str, list[tuple[int, Match]]]  # see `_index_keys`
    owners: Positions  # the item (position in the catalog) of each spelling
    names: list[str]  # each spelling as it is written
    spellings: list[str]  # each spelling folded; every one once per item
    text: str  # a line break, a space and a spelling for each, and a last line break
    starts: list[int]  # where each spelling begins in `text`, and where the last one ends
    places: dict[int, list[int]]  # the spellings of each item
    words: WordIndex
    acronyms: AcronymIndex
    similar: SpellingIndex

    @classmethod
    def build(cls, catalog: Catalog) -> "TitleIndex":
        """Fold and arrange the titles of a catalog; about half a second for 17,500 items."""
        names = _read_names(catalog)
        order = _order_by_popularity(catalog.items)
        rows = {(position, fold_title(name)): name for position in order for name in reversed(names[position])}
        spellings = [spelling for _, spelling in rows]
        places: dict[int, list[int]] = {}
        for place, (position, _) in enumerate(rows):
            places.setdefault(position, []).append(place)
        return cls(
            item_ids=catalog.item_ids,
            titles=[titles[0] for titles in names],
            exact=_index_keys(names, order),
            owners=np.array([position for position, _ in rows], dtype=np.intp),
            names=list(rows.values()),
            spellings=spellings,
            text="".join(f"\n {spelling}" for spelling in spellings) + "\n",
            starts=[0, *accumulate(len(spelling) + 2 for spelling in spellings)],
            places=places,
            words=WordIndex.build(spellings),
            acronyms=AcronymIndex.build(spellings),
            similar=SpellingIndex.build(spellings),
        )

    def resolve(self, title: str) -> TitleMatch:
        """Find the one item that a title stands for.

        The default titles go before the aliases, equal punctuation before folded punctuation, popular items before
        others. Where no title is equal: titles that begin with the text, hold it or its words, then the spelling of the
        highest similarity above 0.9, then those that it may abbreviate. A part of a title is trusted by its share of
        the letters, and never above 0.9.

        Raises
        ------
        UnknownTitleError
            If nothing is similar enough; carries up to five suggestions.
        """
        folded = fold_title(title)
        match: Match = "typo"
        if found := self._find_exact(title):
            match = found[0][1]
            ranked = [self._candidate(position, 1.0) for position in dict.fromkeys(position for position, _ in found)]
        elif parts := self._find_parts(folded):
            match = parts[0][0]
            ranked = [self._candidate(int(self.owners[place]), self._trust(folded, place)) for _, place in parts]
        else:
            near = self._find_similar(folded, TYPO_SIMILARITY)
            ranked = [self._candidate(int(self.owners[place]), similarity) for place, similarity in near]
        if not ranked:
            match = "acronym"
            guesses = islice(self.acronyms.guess(folded), _MAX_COMBINED)
            owners = dict.fromkeys(int(self.owners[place]) for place in guesses)
            ranked = [self._candidate(position, 0.5) for position in owners]
        if not ranked:
            raise UnknownTitleError(title[:MAX_QUERY_LENGTH], self._suggest(folded))
        best, *others = ranked
        return TitleMatch(best.item_id, best.title, match, best.confidence, others[:MAX_ALTERNATIVES])

    def _find_parts(self, folded: str) -> list[tuple[PartMatch, int]]:
        """Return for a few items a spelling that a text is a part of, best kind of match and popular items first."""
        if len(folded) < (MIN_PART if folded.isascii() else 2):
            return []
        found: dict[int, tuple[PartMatch, int]] = {}
        for match, places in self._part_stages(folded):
            for place in places:
                found.setdefault(int(self.owners[place]), (match, place))
                if len(found) > MAX_ALTERNATIVES:
                    return list(found.values())
        return list(found.values())

    def _trust(self, folded: str, place: int) -> float:
        return 0.5 + 0.4 * min(1.0, len(folded) / len(self.spellings[place]))

    def search(self, query: str, limit: int = 10) -> list[TitleHit]:
        """Complete what a user is typing, best first: by kind of match, then by popularity, each item once."""
        hits: dict[int, TitleHit] = {}
        for match, places in self._stages(query):
            for place in places:
                if len(hits) >= limit:
                    return list(hits.values())
                position = int(self.owners[place])
                if position not in hits:
                    item_id = int(self.item_ids[position])
                    hits[position] = TitleHit(item_id, self.titles[position], self.names[place], match)
        return list(hits.values())

    def _stages(self, query: str) -> Iterator[tuple[SearchMatch, Iterable[int]]]:
        """Yield the kinds of match, the best first, each with the spellings that match so."""
        folded = fold_title(query)
        exact = self._find_exact(query)
        yield "exact", (int(np.argmax(self.owners == position)) for position, _ in exact)
        yield from self._part_stages(folded)
        if folded not in self.text:
            yield "typo", (place for place, _ in self._find_similar(folded, TYPO_SIMILARITY))
            yield "acronym", self.acronyms.guess(folded)

    def _part_stages(self, folded: str) -> Iterator[tuple[PartMatch, Iterable[int]]]:
        """Yield the kinds of match in which the query is a part of a title, the best first."""
        if folded and folded in self.text:
            yield "prefix", self._scan("\n " + folded)
            yield "substring", self._scan(" " + folded)
            yield "acronym", self.acronyms.find(folded)
            yield "substring", self._scan(folded)
        else:
            yield "acronym", self.acronyms.find(folded)
        yield "tokens", self._scan_tokens(folded.split())
        yield "acronym", self._scan_combined(folded.split())

    def _find_exact(self, title: str) -> list[tuple[int, Match]]:
        """Return the items so named: equal punctuation first, then default titles, then popular items."""
        return [*self.exact.get(" " + fold_width(title), []), *self.exact.get(fold_title(title), [])]

    def _scan(self, needle: str) -> Iterator[int]:
        """Yield the spellings that contain a text, in order; a space in it stands for a word's begin."""
        at = self.text.find(needle)
        while at >= 0:
            place = bisect_right(self.starts, at) - 1
            yield place
            at = self.text.find(needle, self.starts[place + 1])

    def _scan_tokens(self, tokens: list[str]) -> Iterator[int]:
        """Yield the spellings in which every word of the query begins a word, in whatever order."""
        counts = {token: self.words.count(token) for token in tokens}
        if len(tokens) < 2 or not all(counts.values()):
            return
        for place in self.words.find(min(counts, key=lambda token: counts[token])):
            spelling = " " + self.spellings[place]
            if all(" " + token in spelling for token in tokens):
                yield place

    def _scan_combined(self, tokens: list[str]) -> Iterator[int]:
        """Yield the items whose titles together hold every word, as the begin of a word or as an acronym."""
        counts = {token: self.words.count(token) for token in tokens}
        known = {token: count for token, count in counts.items() if count}
        if len(tokens) < 2 or not known or not all(count or is_acronym(token) for token, count in counts.items()):
            return
        # What may be an acronym leads only where there is nothing else: its own words may be others.
        lead = min(known, key=lambda token: (is_acronym(token), known[token]))
        leading = dict.fromkeys(int(self.owners[place]) for place in self.words.find(lead))
        for position in islice(leading, _MAX_COMBINED):
            places = self.places[position]
            if all(any(self._holds(place, token) for place in places) for token in tokens):
                yield places[0]

    def _holds(self, place: int, token: str) -> bool:
        return " " + token in " " + self.spellings[place] or self.acronyms.occurs(token, place)

    def _candidate(self, position: int, confidence: float) -> TitleCandidate:
        return TitleCandidate(int(self.item_ids[position]), self.titles[position], confidence)

    def _find_similar(self, folded: str, threshold: float) -> list[tuple[int, float]]:
        """Return for each item above a similarity its spelling nearest to a text, nearest items first."""
        best: dict[int, tuple[int, float]] = {}
        for place in self.similar.prune(folded, threshold).tolist():
            similarity = compute_similarity(folded, self.spellings[place])
            position = int(self.owners[place])
            if similarity > max(threshold, best[position][1] if position in best else 0.0):
                best[position] = (place, similarity)
        return sorted(best.values(), key=lambda pair: -pair[1])  # stable: equal ones stay by popularity

    def _suggest(self, folded: str) -> list[str]:
        """Name up to five titles that contain the words, or failing that look alike."""
        found = [hit.title for hit in self.search(folded, MAX_ALTERNATIVES)]
        near = self._find_similar(folded, SUGGESTION_SIMILARITY)[:MAX_ALTERNATIVES]
        found += [self.titles[self.owners[place]] for place, _ in near]
        return list(dict.fromkeys(found))[:MAX_ALTERNATIVES]


def _index_keys(names: list[list[str]], order: list[int]) -> dict[str, list[tuple[int, Match]]]:
    """Map every title to the items that carry it, default titles before aliases, popular items first.

    Each title stands here folded, and once more with its punctuation: that key begins with a space, as no folded one
    does.
    """
    keys: dict[str, list[tuple[int, Match]]] = {}
    parts: list[tuple[Match, slice]] = [("exact", slice(0, 1)), ("alias", slice(1, None))]
    for match, part in parts:
        for position in order:
            for name in names[position][part]:
                for key in (" " + fold_width(name), fold_title(name)):
                    keys.setdefault(key, []).append((position, match))
    return keys


def _order_by_popularity(items: pd.DataFrame) -> list[int]:
    """Return positions, most members first; equal and unknown counts by id."""
    members = items[ItemColumns.Members].fillna(-1).to_numpy(dtype=np.float64)
    ids = items[Columns.Item].to_numpy(dtype=np.int64)
    return [int(position) for position in np.lexsort((ids, -members))]


def _read_names(catalog: Catalog) -> list[list[str]]:
    """List the titles of each item, the default one first."""
    columns = [ItemColumns.Title, ItemColumns.TitleEnglish, ItemColumns.TitleJapanese, ItemColumns.Synonyms]
    rows = zip(*(catalog.items[column] for column in columns), strict=True)
    return [
        [str(title), *(str(name) for name in (english, japanese, *synonyms) if isinstance(name, str) and name.strip())]
        for title, english, japanese, synonyms in rows
    ]
