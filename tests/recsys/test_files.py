"""Arrays in files: written aligned, read into memory or mapped, and checked alike."""

import mmap
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.exceptions import ArtifactError
from recsys.files import map_arrays, read_arrays, write_arrays

Reading = Callable[[], AbstractContextManager[None]]
ARRAYS: dict[str, Any] = {
    "numbers": np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 101),
    "by_column": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "flags": np.array([True, False, True]),
    "words": np.array(["Monster", "蟲師"]),
    "nothing": np.empty((0, 5), dtype=np.int64),
    "one": np.array(7),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_arrays(ARRAYS, tmp_path / "arrays.npz")
    return tmp_path / "arrays.npz"


def is_mapped(values: Any) -> bool:
    while isinstance(values, np.ndarray):
        values = values.base
    return isinstance(values, mmap.mmap) or (isinstance(values, memoryview) and isinstance(values.obj, mmap.mmap))


def test_numpy_reads_what_is_written_and_every_array_is_aligned(path: Path, tmp_path: Path) -> None:
    with np.load(path, allow_pickle=False) as found:
        assert {name: found[name].tolist() for name in found} == {name: v.tolist() for name, v in ARRAYS.items()}
    content = path.read_bytes()
    assert content.index(ARRAYS["numbers"].tobytes()) % 64 == 0
    assert content.index(ARRAYS["words"].tobytes()) % 64 == 0
    write_arrays(ARRAYS, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == content


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays({"objects": np.array([{}])}, tmp_path / "arrays.npz")


@pytest.mark.parametrize("reading", [nullcontext, map_arrays])
def test_what_was_written_is_read(path: Path, reading: Reading) -> None:
    with reading():
        found = read_arrays(path)
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values)
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].flags.aligned
    assert found["by_column"].flags.f_contiguous


def test_mapped_arrays_stay_when_their_file_goes_and_cannot_be_changed(path: Path) -> None:
    with map_arrays():
        found = read_arrays(path)
    path.unlink()
    assert is_mapped(found["numbers"])
    assert found["numbers"].sum() == pytest.approx(50.5)
    with pytest.raises(ValueError, match="read-only"):
        found["numbers"][0, 0] = 1
    assert not is_mapped(ARRAYS["numbers"])


@pytest.mark.parametrize("reading", [nullcontext, map_arrays])
def test_files_that_numpy_wrote_are_read_whether_aligned_or_not(tmp_path: Path, reading: Reading) -> None:
    for width in range(1, 9):
        np.savez(tmp_path / "arrays.npz", **{"x" * width: np.arange(5.0)})
        with reading():
            found = read_arrays(tmp_path / "arrays.npz")["x" * width]
        assert (found.tolist(), found.flags.aligned) == ([0.0, 1.0, 2.0, 3.0, 4.0], True)


@pytest.mark.parametrize("reading", [nullcontext, map_arrays])
def test_one_other_bit_anywhere_in_an_array_is_noticed(path: Path, reading: Reading) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(ARRAYS["numbers"].tobytes()) + 17
    content[place] ^= 1
    path.write_bytes(content)
    with reading(), pytest.raises(ArtifactError, match=r"arrays\.npz"):
        read_arrays(path)


@pytest.mark.parametrize("reading", [nullcontext, map_arrays])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(path: Path, reading: Reading, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))
    with reading(), pytest.raises(ArtifactError, match=r"arrays\.npz"):
        read_arrays(path)


def test_only_what_is_used_of_a_mapped_file_is_resident(tmp_path: Path) -> None:
    write_arrays({"large": np.ones((4_096, 4_096), dtype=np.float32)}, tmp_path / "large.npz")
    with map_arrays():
        before = _count_resident()
        found = read_arrays(tmp_path / "large.npz")["large"]
        assert _count_resident() - before > 48 << 20
    assert _count_resident() - before < 16 << 20
    assert found[17].sum() == 4_096
    assert _count_resident() - before < 16 << 20


def _count_resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
