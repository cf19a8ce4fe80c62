"""Measure latency and memory, and format both."""

import ctypes
import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Milliseconds over n calls."""

    n: int
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """Summarise durations."""
        p50, p95, p99 = (1000 * float(value) for value in np.percentile(seconds, [50, 95, 99]))
        return cls(len(seconds), p50, p95, p99)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def measure(calls: Sequence[Callable[[], Any]], *, seconds: float, warm_up: int = 3) -> Latency:
    """Time calls one after the other, again from the first after the last, for at least so long and three calls."""
    for call in calls[:warm_up]:
        call()
    durations: list[float] = []
    begin = time.perf_counter()
    while len(durations) < 3 or time.perf_counter() - begin < seconds:
        call = calls[len(durations) % len(calls)]
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return Latency.of(durations)


def measure_in_turn(
    ways: Mapping[str, Sequence[Callable[[], Any]]],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time several ways to do the same in turn, so that a busy minute of the machine hits all of them alike.

    Parameters
    ----------
    seconds
        Minimum total duration in seconds.
    clock
        `time.thread_time` leaves out what other processes took meanwhile.
    """
    durations: dict[str, list[float]] = {name: [] for name in ways}
    for calls in ways.values():
        calls[0]()
    begin, turn = time.perf_counter(), 0
    while turn < 3 or time.perf_counter() - begin < seconds:
        for name, calls in ways.items():
            call = calls[turn % len(calls)]
            start = clock()
            call()
            durations[name].append(clock() - start)
        turn += 1
    return {name: Latency.of(found) for name, found in durations.items()}


def release_memory() -> None:
    """Give freed memory back to the system, so that what is made next does not hide in it; only glibc can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def read_memory(pid: int | str = "self") -> float:
    """Return the resident memory of a process in MiB."""
    return _read_status("VmRSS", pid)


def read_processor_seconds(pid: int) -> float:
    """Return the processor time that all threads of a process have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reset_peak() -> None:
    """Let `read_peak` begin again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def read_peak() -> float:
    """Return the most memory that was resident in this process since `reset_peak`, in MiB."""
    return _read_status("VmHWM", "self")


def _read_status(name: str, pid: int | str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} reports no {name}")
