"""How much memory this process may take, and how to give memory back."""

import ctypes
import gc
import math
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys.cgroups import CGROUPS, OWN, list_folders

_MEMINFO: Final = Path("/proc/meminfo")
_KIB: Final = 1 << 10
# By version of cgroups: limit, what is used, and what of that is files which the kernel drops when memory is short.
_FILES: Final = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@dataclass(frozen=True)
class Memory:
    """Memory in bytes: what the process and its neighbours may hold together, and what of it is free."""

    total: float
    free: float


def read_memory(cgroups: Path = CGROUPS, own: Path = OWN, meminfo: Path = _MEMINFO) -> Memory:
    """Read the memory that the machine and the limits of the cgroup leave; infinite where neither can be read.

    Parameters
    ----------
    cgroups, own
        Where cgroups are mounted, and the file that names the one of this process; version 1 and 2 are read.
    meminfo
        The file in which the kernel describes the memory of the machine.
    """
    machine = _read_machine(meminfo)
    limits = [_read_limit(folder) for folder in list_folders("memory", cgroups, own)]
    found = [machine, *limits]
    return Memory(min(memory.total for memory in found), max(0.0, min(memory.free for memory in found)))


def _read_machine(meminfo: Path) -> Memory:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        total, free = (int(lines[name].split()[0]) * _KIB for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError, IndexError):
        return Memory(math.inf, math.inf)
    return Memory(total, free)


def _read_limit(folder: Path) -> Memory:
    """Read what a cgroup leaves; infinite where it sets no limit."""
    for limit, used, droppable in _FILES:
        with suppress(OSError, ValueError):
            total = int((folder / limit).read_text())
            held = int((folder / used).read_text())
            lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            files = next((int(words[1]) for words in lines if words[0] == droppable), 0)
            return Memory(total, total - held + files)
    return Memory(math.inf, math.inf)


def release_memory() -> None:
    """Free what is unreachable and give it back to the system; other threads stand still meanwhile."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Give what was freed back to the system.

    The allocators of Arrow and of glibc keep it, page by page between what is still in use; with others than glibc's
    nothing happens.
    """
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
