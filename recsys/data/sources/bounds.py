"""Bounds of what a file may unfold into, checked while it is read and before memory is taken."""

import io
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc

from recsys.exceptions import SourceLayoutError

MAX_LINE_BYTES: Final = 1 << 18
MAX_CELL_BYTES: Final = 1 << 17  # as `csv.field_size_limit` has it
# Tables of ratings shrink to a quarter, repeated ones to a thirtieth; a gigabyte of zeros to a thousandth.
MAX_RATIO: Final = 100
FREE_BYTES: Final = 1 << 24
# Stands for the rest of a line that was left out.
CUT: Final = "\0" * 8


class BoundedStream(io.BufferedIOBase):
    """A stream of bytes whose lines are cut after `MAX_LINE_BYTES` and which does not unfold without end.

    Parameters
    ----------
    stream, raw
        What is read, and the file on disk that it comes from: the same where nothing is compressed.
    """

    def __init__(self, stream: Any, raw: BinaryIO, name: str) -> None:
        self._stream = stream
        self._raw = raw
        self._name = name
        self._n_read = 0
        self._n_of_line = 0

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def read1(self, size: int = -1, /) -> bytes:
        """Read some bytes, none at the end.

        Raises
        ------
        SourceLayoutError
            If more than a hundred times as many bytes came out as were read.
        """
        while True:
            data: bytes = self._stream.read1(size)
            self._n_read += len(data)
            if self._n_read > FREE_BYTES and self._n_read > MAX_RATIO * max(self._raw.tell(), 1):
                raise SourceLayoutError(
                    f"{self._name} unfolds into more than {MAX_RATIO} times its size, which no table does; "
                    "unpack it and look into it"
                )
            kept = self._cut(data)
            if kept or not data:
                return kept

    def _cut(self, data: bytes) -> bytes:
        """Leave out what a line has beyond the limit."""
        if self._n_of_line + len(data) <= MAX_LINE_BYTES:
            self._n_of_line = len(data) - 1 - last if (last := data.rfind(b"\n")) >= 0 else self._n_of_line + len(data)
            return data
        parts = []
        for line in data.splitlines(keepends=True) if b"\r" not in data else _split_at_newlines(data):
            was, self._n_of_line = self._n_of_line, self._n_of_line + len(line)
            if was <= MAX_LINE_BYTES < self._n_of_line:
                parts.append(line[: MAX_LINE_BYTES - was].rstrip(b"\n") + CUT.encode())
            elif was <= MAX_LINE_BYTES:
                parts.append(line)
            if line.endswith(b"\n"):
                if self._n_of_line > MAX_LINE_BYTES:
                    parts.append(b"\n")
                self._n_of_line = 0
        return b"".join(parts)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
        super().close()


def _split_at_newlines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]


def check_parquet(metadata: Any, name: str) -> None:
    """Refuse a Parquet file that declares to unfold into more than a hundred times its size.

    Raises
    ------
    SourceLayoutError
        If a column of one of its row groups does.
    """
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            large = column.total_uncompressed_size
            if large > FREE_BYTES and large > MAX_RATIO * max(column.total_compressed_size, 1):
                raise SourceLayoutError(
                    f"{name} declares {large} bytes in a column of {column.total_compressed_size}, "
                    "which no table does; look into it"
                )


def check_cells(column: Any, name: str) -> Any:
    """Return a Parquet column none of whose texts is longer than any synopsis, with texts repeated where they recur.

    Raises
    ------
    SourceLayoutError
        If one is.
    """
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = values.flatten()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_binary(values.type):
        longest = pc.max(pc.binary_length(values)).as_py() or 0
        if longest > MAX_CELL_BYTES:
            raise SourceLayoutError(f"{name} holds a text of {longest} bytes; at most {MAX_CELL_BYTES} are read")
    return column
