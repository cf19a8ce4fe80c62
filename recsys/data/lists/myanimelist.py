"""The XML export of MyAnimeList (`panel.php?go=export`), and what other sites and converters write in its form.

Variants that are read: ids in CDATA or 0, numeric statuses, decimal scores or scores 0..100, `<manga>` blocks, which
are left out, and a `<myinfo>` beside the root. The parser builds no tree, so memory does not grow with the file.
"""

from collections import Counter
from typing import Any
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree as DefusedTree
from defusedxml import DefusedXmlException

from recsys.data.lists.content import ListContent
from recsys.data.lists.entries import (
    MANGA_SKIPPED,
    ParsedList,
    ScoredEntry,
    check_entry_count,
    parse_item_id,
    parse_score,
    parse_title,
)
from recsys.data.lists.scores import ScoreFormat
from recsys.data.lists.statuses import MAL_NUMBERS, parse_status
from recsys.exceptions import WatchListError, WatchListTooLargeError

_FIELDS = frozenset({"series_animedb_id", "series_title", "my_score", "my_status"})
_KNOWN_TAGS = frozenset({"myanimelist", "myinfo", "anime", "manga"})
_CHUNK = 1 << 16  # characters
_MAX_SILENCE = 2 << 20  # characters of one tag; what has more is no list
_MAX_DEPTH = 12
_MAX_ELEMENTS = 3_000_000
_MAX_FIELD_LENGTH = 1_000
_PROLOG = 4_096


def recognises_xml(content: ListContent) -> bool:
    """Tell whether the text begins as XML does; what it holds is seen when it is parsed."""
    return content.first == "<"


def parse_xml(content: ListContent) -> ParsedList:
    """Read the entries.

    Raises
    ------
    WatchListError
        If the XML is malformed, declares entities, or is no export of a list.
    WatchListTooLargeError
        If it holds more entries or elements than are read.
    """
    collector = _Collector()
    parser = DefusedTree.DefusedXMLParser(target=collector)
    try:
        for chunk in _wrap(content.text):
            parser.feed(chunk)
            collector.note_progress(len(chunk))
        parser.close()
    except DefusedXmlException as error:
        raise WatchListError("the XML declares entities, which no list needs; remove its DOCTYPE") from error
    except (ParseError, DefusedTree.ParseError) as error:
        raise WatchListError(f"the XML is malformed: {error}; export the list again") from error
    if not collector.is_list:
        raise WatchListError("the XML is no MyAnimeList export: there is neither <myanimelist> nor <anime> in it")
    return ParsedList(collector.entries, ScoreFormat.Point10, collector.notes)


def _wrap(text: str) -> Any:
    """Yield the text in pieces within a root of our own, for files that have more than one."""
    start = len(text) - len(text.lstrip())
    if text.startswith("<?xml", start):
        end = text.find("?>", start, start + _PROLOG)
        start = end + 2 if end > 0 else start
    # A DOCTYPE must be seen for what it is.
    wrapped = text.find("<!DOCTYPE", start, start + _PROLOG) < 0
    if wrapped:
        yield "<lists>"
    for place in range(start, len(text), _CHUNK):
        yield text[place : min(place + _CHUNK, len(text))]
    if wrapped:
        yield "</lists>"


class _Collector:
    """Receives the events of the parser and keeps the wanted fields of the entry that is open."""

    def __init__(self) -> None:
        self.entries: list[ScoredEntry] = []
        self.notes: Counter[str] = Counter()
        self.is_list = False
        self._depth = 0
        self._n_elements = 0
        self._silence = 0
        self._entry: str | None = None
        self._field: str | None = None
        self._values: dict[str, str] = {}

    def note_progress(self, n_characters: int) -> None:
        """Count what was fed since the last event: a tag that never ends fills the parser's buffer."""
        self._silence += n_characters
        if self._silence > _MAX_SILENCE:
            raise WatchListError("the XML holds a tag or comment of more than 2 MB, which no list does")

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._silence = 0
        self._depth += 1
        self._n_elements += 1
        if self._depth > _MAX_DEPTH:
            raise WatchListError(f"the XML nests deeper than {_MAX_DEPTH} levels, which no list does")
        if self._n_elements > _MAX_ELEMENTS:
            raise WatchListTooLargeError(f"the XML holds more than {_MAX_ELEMENTS:,} elements; split the list")
        self.is_list = self.is_list or tag in _KNOWN_TAGS
        if tag in ("anime", "manga"):
            self._entry, self._values = tag, {}
        self._field = tag if tag in _FIELDS and self._entry else None

    def data(self, text: str) -> None:
        self._silence = 0
        if self._field is not None:
            known = self._values.get(self._field, "")
            if len(known) < _MAX_FIELD_LENGTH:
                self._values[self._field] = known + text[:_MAX_FIELD_LENGTH]

    def comment(self, _text: str) -> None:
        self._silence = 0

    def end(self, tag: str) -> None:
        self._silence = 0
        self._depth -= 1
        self._field = None
        if tag == self._entry:
            self._entry = None
            if tag == "manga":
                self.notes[MANGA_SKIPPED] += 1
            else:
                self._add(self._values)

    def _add(self, values: dict[str, str]) -> None:
        check_entry_count(len(self.entries) + 1)
        self.entries.append(
            ScoredEntry(
                item_id=parse_item_id(values.get("series_animedb_id")),
                title=parse_title(values.get("series_title")),
                score=parse_score(values.get("my_score")),
                status=parse_status(values.get("my_status"), MAL_NUMBERS, self.notes),
            )
        )

    def close(self) -> None:
        """End of the document; there is nothing left to do."""
