"""How many processors this process may use."""

import math
import os
from pathlib import Path

from recsys.cgroups import CGROUPS, OWN, list_folders


def count_cpus(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Count the processors that affinity and the quotas of the cgroup leave, at least one.

    `os.cpu_count()` counts those of the machine, also in a container that may use half a processor.

    Parameters
    ----------
    cgroups, own
        Where cgroups are mounted, and the file that names the one of this process; version 1 and 2 are read.
    """
    n_allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min((_read_quota(folder) for folder in list_folders("cpu", cgroups, own)), default=math.inf)
    return max(1, min(n_allowed, math.ceil(quota) if math.isfinite(quota) else n_allowed))


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
