"""The revision of the code that runs: of the image, or of the checkout."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import recsys

VARIABLE: Final = "OTAKU_REVISION"
_ROOT = Path(recsys.__file__).parents[1]
_DIRTY = "-dirty"


def find_revision(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return `OTAKU_REVISION` if set, else the commit of the checkout; None if neither.

    Where tracked files differ from the commit, `-dirty-` and a digest of the differences follow, so that two states of
    the code never carry the same name.
    """
    if given := environment.get(VARIABLE, "").strip():
        return given
    if not (root / ".git").exists():
        return None
    found = _ask_git(root, "describe", "--always", f"--dirty={_DIRTY}", "--abbrev=40", "--exclude=*")
    if found is None or not found.endswith(_DIRTY.encode()):
        return found.decode() if found else None
    changes = _ask_git(root, "diff", "--no-ext-diff", "--binary", "HEAD") or b""
    return f"{found.decode()}-{hashlib.sha256(changes).hexdigest()[:8]}"


def describe_code() -> dict[str, str | None]:
    """Name the version of the packages and the revision of the code that runs."""
    return {"recsys": recsys.__version__, "commit": find_revision()}


def _ask_git(root: Path, *arguments: str) -> bytes | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
