"""Rows of text out of .csv, .csv.gz and .parquet, tolerant of single broken rows and bounded in memory.

What cannot be a row of the file is refused with its line and never stops the reading; what cannot be such a file at
all is a `SourceLayoutError`.
"""

import csv
import gzip
import io
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from recsys.exceptions import SourceLayoutError

FORMATS = (".csv", ".csv.gz", ".parquet")
BATCH_ROWS = 65_536
# A quote that nobody closes must not swallow the rest of the file.
_MAX_LINES_OF_A_ROW = 100
_MAX_HEADER_CHARACTERS = 65_536
_MAX_CONTENT_CHARACTERS = 2_000

WRONG_FIELDS = "wrong number of fields"
BROKEN_QUOTES = "broken quotes"
NOT_UTF8 = "not UTF-8"
NUL_CHARACTER = "holds a NUL character"


class Refused(NamedTuple):
    """A row that breaks a contract: its line (from 1, the header is line 1; row number in Parquet), why, and what."""

    line: int
    reason: str
    content: str


@dataclass
class RawBatch:
    """Some rows of a file: `columns[j][i]` is the text of column j in the row that stands on `lines[i]`."""

    lines: Sequence[int]
    columns: Sequence[Sequence[str]]
    refused: list[Refused] = field(default_factory=list)
    share_read: float = 1.0


def build_refused(line: int, reason: str, content: str) -> Refused:
    """Make the content of a refused row fit to be stored: valid text, no NUL, at most 2,000 characters."""
    text = content[:_MAX_CONTENT_CHARACTERS].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return Refused(line, reason, text.replace("\0", "\ufffd").rstrip("\r\n"))


def read_header(path: Path) -> list[str]:
    """Read the column names of a file.

    Raises
    ------
    SourceLayoutError
        If the file is empty, binary, or not in the format that its name says.
    """
    if path.suffix == ".parquet":
        with _open_parquet(path) as parquet:
            return list(parquet.schema_arrow.names)
    with _open_text(path) as (handle, _):
        line = handle.readline(_MAX_HEADER_CHARACTERS)
    if not line.strip():
        raise SourceLayoutError(f"{path.name} is empty; expected a header and rows")
    header = _split(line)
    if header is None or "\0" in line or _holds_foreign_bytes(line):
        raise SourceLayoutError(f"{path.name} is not a text file in UTF-8; expected comma-separated values")
    return header


def read_batches(path: Path, n_columns: int) -> Iterator[RawBatch]:
    """Read the rows of a file in batches; blank lines are no rows.

    Raises
    ------
    SourceLayoutError
        If a compressed file or a Parquet file is cut short or corrupt.
    """
    reader = _read_parquet_batches if path.suffix == ".parquet" else _read_text_batches
    yield from reader(path, n_columns)


def _read_text_batches(path: Path, n_columns: int) -> Iterator[RawBatch]:
    size = max(path.stat().st_size, 1)
    with _open_text(path) as (handle, position):
        handle.readline()
        # One flat list: millions of small lists would keep the garbage collector busy.
        fields: list[str] = []
        lines: list[int] = []
        refused: list[Refused] = []
        for record in _read_records(handle, n_columns):
            if isinstance(record, Refused):
                refused.append(record)
            else:
                lines.append(record[0])
                fields.extend(record[1])
            if len(lines) + len(refused) == BATCH_ROWS:
                yield RawBatch(lines, _transpose(fields, n_columns), refused, position() / size)
                fields, lines, refused = [], [], []
        yield RawBatch(lines, _transpose(fields, n_columns), refused)


def _transpose(fields: list[str], n_columns: int) -> list[list[str]]:
    return [fields[column::n_columns] for column in range(n_columns)]


def _read_records(lines: Iterable[str], n_columns: int) -> Iterator[tuple[int, list[str]] | Refused]:
    """Split lines into fields; a row whose quotes do not add up is refused alone and reading goes on after it."""
    ahead: deque[tuple[int, str]] = deque()
    numbered = enumerate(lines, start=2)
    while (first := ahead.popleft() if ahead else next(numbered, None)) is not None:
        line, text = first
        if '"' not in text and text.isascii() and "\0" not in text:
            fields: list[str] | None = text.rstrip("\r\n").split(",")
        else:
            taken, whole = _join_quoted_lines(first, ahead, numbered)
            fields = _split(whole)
            flaw = _find_flaw(whole) or (BROKEN_QUOTES if fields is None else None)
            if flaw or len(fields or ()) != n_columns:
                # The quote may be the mistake: the lines behind it get their own chance.
                ahead.extendleft(reversed(taken[1:]))
                yield build_refused(line, flaw or WRONG_FIELDS, text)
                continue
        if fields is not None and len(fields) == n_columns:
            yield line, fields
        elif not text.isspace():
            yield build_refused(line, WRONG_FIELDS, text)


def _join_quoted_lines(
    first: tuple[int, str], ahead: deque[tuple[int, str]], numbered: Iterator[tuple[int, str]]
) -> tuple[list[tuple[int, str]], str]:
    """Take further lines until every quote is closed, or give up and return what was taken."""
    taken = [first]
    quotes = first[1].count('"')
    while quotes % 2 and len(taken) < _MAX_LINES_OF_A_ROW:
        following = ahead.popleft() if ahead else next(numbered, None)
        if following is None:
            break
        taken.append(following)
        quotes += following[1].count('"')
    return taken, "".join(text for _, text in taken)


def _split(text: str) -> list[str] | None:
    """Split one record; None if its quotes are broken."""
    try:
        return next(csv.reader([text.rstrip("\r\n")], strict=True), [])
    except csv.Error:
        return None


def _find_flaw(text: str) -> str | None:
    if "\0" in text:
        return NUL_CHARACTER
    return NOT_UTF8 if _holds_foreign_bytes(text) else None


def _holds_foreign_bytes(text: str) -> bool:
    """Tell whether bytes that are no UTF-8 were smuggled into the text by `surrogateescape`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


@contextmanager
def _open_text(path: Path) -> Iterator[tuple[io.TextIOWrapper, Callable[[], int]]]:
    """Open a plain or compressed text file, together with how far into the file on disk the reading is."""
    with path.open("rb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        # Lines end at "\n" alone: a lone "\r" inside a quoted field is no line of its own.
        handle = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        try:
            yield handle, raw.tell
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise SourceLayoutError(f"{path.name} is no whole gzip file ({error}); fetch it again") from error
        finally:
            handle.close()


@contextmanager
def _open_parquet(path: Path) -> Iterator[Any]:
    try:
        with pyarrow.parquet.ParquetFile(path) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise SourceLayoutError(f"{path.name} is no whole Parquet file ({error}); fetch it again") from error


def _read_parquet_batches(path: Path, n_columns: int) -> Iterator[RawBatch]:
    with _open_parquet(path) as parquet:
        n_rows = max(parquet.metadata.num_rows, 1)
        read = 0
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            lines = range(read + 1, read + 1 + len(batch))
            read += len(batch)
            yield _refuse_nul_characters(lines, [_spell(column) for column in batch.columns], read / n_rows)
        if read == 0:
            yield RawBatch([], [()] * n_columns)


def _refuse_nul_characters(lines: range, columns: list[pa.Array], share_read: float) -> RawBatch:
    flawed = pa.array([False] * len(lines))
    for column in columns:
        flawed = pc.or_(flawed, pc.match_substring(column, "\0"))
    if not pc.any(flawed).as_py():
        return RawBatch(lines, [column.to_pylist() for column in columns], [], share_read)
    texts = [column.to_pylist() for column in columns]
    bad = flawed.to_pylist()
    refused = [
        build_refused(line, NUL_CHARACTER, ",".join(text[i] for text in texts))
        for i, line in enumerate(lines)
        if bad[i]
    ]
    kept = [[value for value, is_bad in zip(text, bad, strict=True) if not is_bad] for text in texts]
    return RawBatch([line for line, b in zip(lines, bad, strict=True) if not b], kept, refused, share_read)


def _spell(column: Any) -> Any:
    """Spell a Parquet column as a CSV file would: lists joined by commas, null as nothing."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pa.array([", ".join(map(str, values)) if values else "" for values in column.to_pylist()], pa.string())
    return pc.fill_null(column.cast(pa.string()), "")
