"""The cgroups that this process is in, of version 1 or 2."""

from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")


def list_folders(controller: str, cgroups: Path = CGROUPS, own: Path = OWN) -> list[Path]:
    """List the folders of the cgroup of this process and of all above it.

    Parameters
    ----------
    controller
        Of version 1, such as `cpu` or `memory`; those of version 2 share their folders.
    cgroups, own
        Where cgroups are mounted, and the file that names the one of this process.
    """
    folders = [cgroups, cgroups / controller]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        shared = not controllers
        root = cgroups if shared else cgroups / controller if controller in controllers.split(",") else None
        if root is not None:
            inner = root / path.lstrip("/")
            folders += [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return folders
