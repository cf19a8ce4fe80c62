"""Read the files of a stored version as what they might be: hostile input that carries the right digest.

Every declared length is checked against the size of the file before memory is taken for it.
"""

import ast
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.exceptions import ArtifactError

Arrays = dict[str, npt.NDArray[Any]]

MAX_JSON_BYTES: Final = 1 << 24
MAX_TEXT_BYTES: Final = 1 << 28
_BATCH_ROWS: Final = 1_024
_MAX_ARRAYS: Final = 1_000
_MAX_DIMENSIONS: Final = 4
_KINDS: Final = "biufSU"  # booleans, whole and decimal numbers, texts; objects would need a pickle
_HEADER_BYTES: Final = 10_000
_MAGIC: Final = b"\x93NUMPY"
# Whatever text a parser is given, it may end in any of these.
UNREADABLE: Final = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, MemoryError)


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a text in UTF-8 that is no longer than a limit.

    Raises
    ------
    ArtifactError
        If the file is missing, too long or no text.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ArtifactError(f"{path.name} has {size} bytes; at most {max_bytes} are read")
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path.name} cannot be read: {error}") from error


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON document.

    Raises
    ------
    ArtifactError
        If the file is missing, too long, too deeply nested or no JSON.
    """
    try:
        return json.loads(read_text(path, max_bytes))
    except UNREADABLE as error:
        raise ArtifactError(f"{path.name} cannot be read: {error}") from error


def read_arrays(path: Path) -> Arrays:
    """Read the named arrays of an NPZ file as `numpy.savez` writes it, without compression.

    Raises
    ------
    ArtifactError
        If the file is missing, truncated, compressed, larger inside than outside, or holds anything but plain arrays.
    """
    try:
        with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
            return dict(_read_members(archive, path.stat().st_size))
    except (
        ArtifactError,
        *UNREADABLE,
        EOFError,
        SyntaxError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ArtifactError(f"{path.name} cannot be read as plain arrays: {error}") from error


def _read_members(archive: zipfile.ZipFile, n_bytes: int) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ArtifactError("it is compressed; versions are stored without compression")
    # Members that overlap declare together more than the file has.
    declared = sum(member.file_size for member in members)
    if declared > n_bytes or len(members) > _MAX_ARRAYS:
        raise ArtifactError(f"it declares {len(members)} arrays of {declared} bytes in a file of {n_bytes}")
    names = [member.filename for member in members]
    if len(set(names)) != len(names) or not all(name.endswith(".npy") for name in names):
        raise ArtifactError("an array occurs twice or is none")
    for member in members:
        with archive.open(member) as handle:
            yield member.filename.removesuffix(".npy"), _read_array(handle, member.file_size)  # type: ignore[arg-type]


def _read_array(handle: BinaryIO, n_bytes: int) -> npt.NDArray[Any]:
    """Read one array of the NPY format, version 1 or 2, whose header agrees with its length."""
    prefix = handle.read(8)
    width = {1: 2, 2: 4}.get(prefix[6] if len(prefix) == 8 else 0)
    if prefix[:6] != _MAGIC or width is None:
        raise ArtifactError("an array does not begin as one")
    length = int.from_bytes(handle.read(width), "little")
    if length > _HEADER_BYTES:
        raise ArtifactError(f"the header of an array has {length} bytes")
    dtype, shape, is_fortran = _read_header(handle.read(length))
    content = n_bytes - len(prefix) - width - length
    count = 1
    for size in shape:
        count *= size
    if count * dtype.itemsize != content:
        raise ArtifactError(f"an array of shape {shape} and type {dtype} cannot have {content} bytes")
    array = np.empty(count, dtype=dtype)
    view: Any = array.view(np.uint8) if content else np.empty(0, np.uint8)
    done = 0
    while done < content and (n_read := handle.readinto(view[done:])):  # type: ignore[attr-defined]
        done += n_read
    if done != content or handle.read(1):  # reading to the end checks the sum that the archive keeps
        raise ArtifactError("an array was truncated")
    return array.reshape(shape, order="F" if is_fortran else "C")


def _read_header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    header = ast.literal_eval(text.decode("latin-1").strip())
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ArtifactError("the header of an array is none")
    descr, shape = header["descr"], header["shape"]
    if not isinstance(descr, str) or not isinstance(shape, tuple) or not isinstance(header["fortran_order"], bool):
        raise ArtifactError("the header of an array is none")
    dtype = np.dtype(descr)
    if dtype.kind not in _KINDS or dtype.subdtype is not None or dtype.itemsize < 1:
        raise ArtifactError(f"an array of type {dtype} is no plain one")
    if len(shape) > _MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise ArtifactError(f"an array cannot have the shape {shape}")
    return dtype, shape, header["fortran_order"]


def read_frame(path: Path, *, max_rows: int, max_bytes: int) -> pd.DataFrame:
    """Read a Parquet file in small parts, so that one which unfolds into more than the limits is left in time.

    Raises
    ------
    ArtifactError
        If the file is missing, truncated, altered or larger than the limits.
    """
    try:
        with pq.ParquetFile(path) as file:
            frame: pd.DataFrame = _read_table(file, max_rows, max_bytes).to_pandas()
            return frame
    except (ArtifactError, pa.ArrowException, *UNREADABLE) as error:
        raise ArtifactError(f"{path.name} cannot be read: {error}") from error


def _read_table(file: pq.ParquetFile, max_rows: int, max_bytes: int) -> pa.Table:
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    n_rows, n_bytes = file.metadata.num_rows, sum(group.total_byte_size for group in groups)
    if not 0 <= n_rows <= max_rows or not 0 <= n_bytes <= max_bytes:
        raise ArtifactError(f"it declares {n_rows} rows of {n_bytes} bytes; at most {max_rows} of {max_bytes} are read")
    batches, taken = [], 0
    for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
        taken += batch.nbytes
        if taken > max_bytes:
            raise ArtifactError(f"it unfolds into more than {max_bytes} bytes")
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow)
