"""How many processors this process may use."""

import math
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


def count_cpus(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Count the processors that affinity and the quotas of the cgroup leave, at least one.

    `os.cpu_count()` counts those of the machine, also in a container that may use half a processor.

    Parameters
    ----------
    cgroups, own
        Where cgroups are mounted, and the file that names the one of this process; version 1 and 2 are read.
    """
    n_allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min((_read_quota(folder) for folder in _list_folders(cgroups, own)), default=math.inf)
    return max(1, min(n_allowed, math.ceil(quota) if math.isfinite(quota) else n_allowed))


def _list_folders(cgroups: Path, own: Path) -> list[Path]:
    """List the folders of the cgroup of this process and of all above it."""
    folders = [cgroups, cgroups / "cpu"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = cgroups if not controllers else cgroups / "cpu" if "cpu" in controllers.split(",") else None
        if root is not None:
            inner = root / path.lstrip("/")
            folders += [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return folders


def _read_quota(folder: Path) -> float:
    """Read the processors that a cgroup allows; infinity where it sets no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
