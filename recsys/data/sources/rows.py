"""Rows of text out of .csv, .csv.gz and .parquet, tolerant of single broken rows and bounded in memory.

What cannot be a row of the file is refused with its line and never stops the reading; what cannot be such a file at
all is a `SourceLayoutError`.
"""

import csv
import gzip
import io
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from recsys.data.sources.bounds import CUT, MAX_LINE_BYTES, BoundedStream, check_cells, check_parquet
from recsys.data.sources.encodings import decode_cp1252, holds_foreign_bytes
from recsys.exceptions import SourceLayoutError

FORMATS = (".csv", ".csv.gz", ".parquet")
BATCH_ROWS = 65_536
# An unclosed quote must not take the rest of the file with it.
_MAX_LINES_OF_A_ROW = 100
_MAX_HEADER_CHARACTERS = 65_536
_MAX_CONTENT_CHARACTERS = 2_000
# A batch ends where it is full, of rows or of text.
_MAX_BATCH_CHARACTERS = 1 << 23
_PIECE_LINES = 256
_BATCH_TEXT_ROWS = 4_096  # of a Parquet file with texts

WRONG_FIELDS = "wrong number of fields"
BROKEN_QUOTES = "broken quotes"
NOT_UTF8 = "not UTF-8"
NUL_CHARACTER = "holds a NUL character"
TOO_LONG = f"longer than {MAX_LINE_BYTES} bytes"
# A note, no refusal: the row is read.
DECODED_CP1252 = "decoded as Windows-1252"


class Refused(NamedTuple):
    """A row that breaks a contract: its line (from 1, the header is line 1; row number in Parquet), why, and what."""

    line: int
    reason: str
    content: str


@dataclass
class RawBatch:
    """Some rows of a file: `columns[j][i]` is the text of column j in the row that stands on `lines[i]`.

    `notes` counts rows that were read although something was odd about them.
    """

    lines: Sequence[int]
    columns: Sequence[Sequence[str]]
    refused: list[Refused] = field(default_factory=list)
    share_read: float = 1.0
    notes: Counter[str] = field(default_factory=Counter)


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
    if header is None or "\0" in line or holds_foreign_bytes(line):
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


class _Lines:
    """The numbered lines of a file; lines that were taken can be given back."""

    def __init__(self, handle: Iterator[str]) -> None:
        self._handle = handle
        self._n_read = 1
        self._ahead: deque[tuple[int, str]] = deque()
        self._has_ended = False

    @property
    def are_done(self) -> bool:
        """Whether there is no further line."""
        return self._has_ended and not self._ahead

    def take(self) -> tuple[int, str] | None:
        if self._ahead:
            return self._ahead.popleft()
        text = next(self._handle, None)
        self._n_read += 1
        self._has_ended = text is None
        return None if text is None else (self._n_read, text)

    def give_back(self, lines: Iterable[tuple[int, str]]) -> None:
        self._ahead.extendleft(reversed(list(lines)))

    def take_plain_block(self, n_columns: int) -> RawBatch | None:
        """Read many lines at once; None, and nothing read, where one of them needs a closer look."""
        if self._ahead:
            return None
        block: list[str] = []
        n_characters = 0
        while len(block) < BATCH_ROWS and n_characters < _MAX_BATCH_CHARACTERS and not self._has_ended:
            wanted = min(_PIECE_LINES, BATCH_ROWS - len(block))
            piece = list(islice(self._handle, wanted))
            self._has_ended = len(piece) < wanted
            n_characters += sum(map(len, piece))
            block += piece
        numbers = range(self._n_read + 1, self._n_read + 1 + len(block))
        self._n_read += len(block)
        columns = _split_plain_lines(block, n_columns)
        if columns is None:
            self.give_back(zip(numbers, block, strict=True))
            return None
        return RawBatch(numbers, columns)


def _read_text_batches(path: Path, n_columns: int) -> Iterator[RawBatch]:
    size = max(path.stat().st_size, 1)
    with _open_text(path) as (handle, position):
        handle.readline()
        lines = _Lines(handle)
        is_last = False
        while not is_last:
            batch = lines.take_plain_block(n_columns) or _read_batch(lines, n_columns)
            is_last = lines.are_done
            batch.share_read = 1.0 if is_last else position() / size
            yield batch


def _split_plain_lines(block: list[str], n_columns: int) -> list[list[str]] | None:
    """Split lines that have neither quotes nor anything odd; None if one is not like that."""
    text = "".join(block).replace("\r\n", "\n")
    if n_columns < 2 or not text.isascii() or any(character in text for character in '"\r\0'):
        return None
    if not set(map(str.count, block, repeat(","))) <= {n_columns - 1}:
        return None
    return _transpose(text.removesuffix("\n").replace("\n", ",").split(",") if block else [], n_columns)


def _read_batch(lines: _Lines, n_columns: int) -> RawBatch:
    # One flat list: millions of small lists would keep the garbage collector busy.
    fields: list[str] = []
    batch = RawBatch(numbers := [], [])
    n_characters = 0
    for record in _read_records(lines, n_columns, batch.notes):
        if isinstance(record, Refused):
            batch.refused.append(record)
        else:
            numbers.append(record[0])
            fields.extend(record[1])
            n_characters += sum(map(len, record[1]))
        if len(numbers) + len(batch.refused) == BATCH_ROWS or n_characters > _MAX_BATCH_CHARACTERS:
            break
    batch.columns = _transpose(fields, n_columns)
    return batch


def _transpose(fields: list[str], n_columns: int) -> list[list[str]]:
    return [fields[column::n_columns] for column in range(n_columns)]


def _read_records(lines: _Lines, n_columns: int, notes: Counter[str]) -> Iterator[tuple[int, list[str]] | Refused]:
    """Split lines into fields; a row whose quotes do not add up is refused alone and reading goes on after it."""
    while (first := lines.take()) is not None:
        line, text = first
        if '"' not in text and text.isascii() and "\0" not in text:
            fields: list[str] | None = text.rstrip("\r\n").split(",")
        else:
            taken, raw = _join_quoted_lines(first, lines)
            whole = decode_cp1252(raw)
            fields = _split(whole)
            flaw = _find_flaw(whole) or (BROKEN_QUOTES if fields is None else None)
            if flaw or len(fields or ()) != n_columns:
                # The quote may be the mistake: the lines behind it get their own chance.
                lines.give_back(taken[1:])
                yield build_refused(line, flaw or WRONG_FIELDS, text)
                continue
            if whole is not raw:
                notes[DECODED_CP1252] += 1
        if fields is not None and len(fields) == n_columns:
            yield line, fields
        elif not text.isspace():
            yield build_refused(line, WRONG_FIELDS, text)


def _join_quoted_lines(first: tuple[int, str], lines: _Lines) -> tuple[list[tuple[int, str]], str]:
    """Take further lines until every quote is closed, or give up and return what was taken."""
    taken = [first]
    quotes = first[1].count('"')
    while quotes % 2 and len(taken) < _MAX_LINES_OF_A_ROW:
        following = lines.take()
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
    if CUT in text:
        return TOO_LONG
    if "\0" in text:
        return NUL_CHARACTER
    return NOT_UTF8 if holds_foreign_bytes(text) else None


@contextmanager
def _open_text(path: Path) -> Iterator[tuple[io.TextIOWrapper, Callable[[], int]]]:
    """Open a plain or compressed text file, together with how far into the file on disk the reading is."""
    with path.open("rb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        bounded: Any = BoundedStream(stream, raw, path.name)
        # Lines end at "\n" alone: a lone "\r" inside a quoted field is no line of its own.
        handle = io.TextIOWrapper(bounded, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        try:
            yield handle, raw.tell
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise SourceLayoutError(f"{path.name} is no whole gzip file ({error}); fetch it again") from error
        finally:
            handle.close()


@contextmanager
def _open_parquet(path: Path) -> Iterator[Any]:
    try:
        # Texts that recur are kept once, as the file keeps them.
        with pyarrow.parquet.ParquetFile(path) as plain:
            check_parquet(plain.metadata, path.name)
            texts = [field.name for field in plain.schema_arrow if pa.types.is_string(field.type)]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise SourceLayoutError(f"{path.name} is no whole Parquet file ({error}); fetch it again") from error


def _read_parquet_batches(path: Path, n_columns: int) -> Iterator[RawBatch]:
    with _open_parquet(path) as parquet:
        n_rows = max(parquet.metadata.num_rows, 1)
        read = 0
        are_numbers = all(pa.types.is_primitive(field.type) for field in parquet.schema_arrow)
        for batch in parquet.iter_batches(BATCH_ROWS if are_numbers else min(_BATCH_TEXT_ROWS, BATCH_ROWS)):
            lines = range(read + 1, read + 1 + len(batch))
            read += len(batch)
            columns = [_spell(check_cells(column, path.name)) for column in batch.columns]
            yield _refuse_nul_characters(lines, columns, read / n_rows)
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
