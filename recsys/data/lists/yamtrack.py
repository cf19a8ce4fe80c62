"""The CSV export of Yamtrack: `media_id, source, media_type, title, score, status, …`, scores 0..10."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Final

from recsys.data.lists.content import ListContent
from recsys.data.lists.entries import (
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

OTHER_MEDIA: Final = "other media left out"
NO_ROW: Final = "malformed row left out"

_NEEDED = ("media_id", "source", "media_type")
_MAX_LINE = 1 << 20
_MAX_ROWS = 1_000_000


def recognises_csv(content: ListContent) -> bool:
    """Tell whether the first line names the columns of Yamtrack."""
    header = content.text[:_MAX_LINE].lstrip().partition("\n")[0].lower()
    return all(name in header for name in _NEEDED)


def parse_csv(content: ListContent) -> ParsedList:
    """Read the anime of the export; the ids are MAL's where the source is `mal`.

    Raises
    ------
    WatchListError
        If a column is missing or the CSV is malformed.
    WatchListTooLargeError
        If there are more rows than are read.
    """
    notes: Counter[str] = Counter()
    entries: list[ScoredEntry] = []
    for row in _read_rows(content.text):
        if row is None:
            notes[NO_ROW] += 1
        elif row.get("media_type", "").strip().lower() != "anime":
            notes[OTHER_MEDIA] += 1
        else:
            check_entry_count(len(entries) + 1)
            from_mal = row.get("source", "").strip().lower() == "mal"
            entries.append(
                ScoredEntry(
                    item_id=parse_item_id(row.get("media_id")) if from_mal else None,
                    title=parse_title(row.get("title")),
                    score=parse_score(row.get("score")),
                    status=parse_status(row.get("status"), MAL_NUMBERS, notes),
                )
            )
    return ParsedList(entries, ScoreFormat.Point10, notes)


def _read_rows(text: str) -> Iterator[dict[str, str] | None]:
    """Yield the rows by column name, None for one of another length."""
    rows = csv.reader(_iterate_lines(text.lstrip()))
    try:
        header = [name.strip().lower() for name in next(rows)]
        missing = [name for name in _NEEDED if name not in header]
        if missing:
            raise WatchListError(f"the CSV file lacks the columns {', '.join(missing)} of Yamtrack")
        for number, fields in enumerate(rows):
            if number >= _MAX_ROWS:
                raise WatchListTooLargeError(f"the CSV file has more than {_MAX_ROWS:,} rows; split it")
            if fields:
                yield dict(zip(header, fields, strict=True)) if len(fields) == len(header) else None
    except csv.Error as error:
        raise WatchListError(f"the CSV file is malformed: {error}") from error


def _iterate_lines(text: str) -> Iterator[str]:
    """Yield lines with their ends; not `io.StringIO`, which holds four bytes for every character."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if end - start > _MAX_LINE:
            raise WatchListError("the CSV file has a line of more than 1 MB")
        yield text[start:end]
        start = end
