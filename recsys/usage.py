"""What a piece of work takes: seconds, seconds of processors, and the most memory that the process held meanwhile."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # see proc_pid_clear_refs(5)


@dataclass
class Usage:
    """What was used so far.

    Parameters
    ----------
    seconds, cpu_seconds
        Passed on the clock, and computed by all threads of the process and by its children that ended.
    peak_mib
        Most resident memory of the process, in MiB: since the beginning of the work where the kernel can forget an
        earlier peak (Linux), else since the beginning of the process.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


@contextmanager
def measure_usage() -> Iterator[Usage]:
    """Measure the body of the block; the numbers are there when it has ended."""
    usage = Usage()
    _forget_peak()
    began, computed = time.monotonic(), _read_cpu_seconds()
    try:
        yield usage
    finally:
        usage.seconds = time.monotonic() - began
        usage.cpu_seconds = _read_cpu_seconds() - computed
        usage.peak_mib = _read_peak_mib()


def _forget_peak() -> None:
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:  # another system, or a container that hides it
        return


def _read_cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _read_peak_mib() -> float:
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
