"""Memory of this process: the machine, and limits of cgroups of both versions."""

import gc
import math
from pathlib import Path

import pyarrow as pa
import pytest

from recsys.memory import Memory, read_memory, release_memory
from tests.recsys.test_cpus import write


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  8192 kB\nMemFree:   100 kB\nMemAvailable:  4096 kB\nHugePages_Total:       0\n")
    return path


def test_without_a_limit_it_is_the_machine(tmp_path: Path, own: Path, meminfo: Path) -> None:
    own.write_text("0::/mine\n")
    write(tmp_path / "mine", memory__max="max")
    assert read_memory(tmp_path, own, meminfo) == Memory(8 << 20, 4 << 20)


def test_a_limit_of_version_2_holds_wherever_it_is_set_above(tmp_path: Path, own: Path, meminfo: Path) -> None:
    own.write_text("0::/slice/mine\n")
    write(
        tmp_path / "slice", memory__max="5000000", memory__current="3000000", memory__stat="anon 1\ninactive_file 500"
    )
    write(tmp_path / "slice" / "mine", memory__max="max")
    assert read_memory(tmp_path, own, meminfo) == Memory(5_000_000, 2_000_500)


def test_a_limit_of_version_1_is_read(tmp_path: Path, own: Path, meminfo: Path) -> None:
    own.write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    files = {"memory__limit_in_bytes": "1000", "memory__usage_in_bytes": "1200", "memory__stat": "cache 7"}
    write(tmp_path / "memory" / "docker" / "abc", **files)
    assert read_memory(tmp_path, own, meminfo) == Memory(1000, 0)


def test_what_cannot_be_read_limits_nothing(tmp_path: Path, own: Path) -> None:
    assert read_memory(tmp_path / "none", own, tmp_path / "none") == Memory(math.inf, math.inf)


def test_this_process_may_take_some_memory() -> None:
    found = read_memory()
    assert 0 < found.free <= found.total < math.inf


def test_memory_between_what_is_in_use_is_given_back() -> None:
    blocks = [bytearray(50_000) for _ in range(4_000)]  # below the size that glibc maps on its own
    kept = blocks[::50]
    before = _read_resident()
    del blocks
    release_memory()
    assert before - _read_resident() > 100 << 20
    assert len(kept) == 80


def _read_resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) << 12


def test_what_arrow_has_freed_is_given_back() -> None:
    texts = [str(number) * 20 for number in range(200_000)]
    parts = [pa.array(texts[start : start + 500]) for start in range(0, len(texts), 500) for _ in range(3)]
    kept = parts[::50]
    before = _read_resident()
    del parts
    gc.collect()
    release_memory()
    assert before - _read_resident() > 40 << 20
    assert len(kept) == 24
