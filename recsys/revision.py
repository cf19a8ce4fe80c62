"""The revision of the code that runs: of the image, or of the checkout."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import recsys

VARIABLE: Final = "OTAKU_REVISION"
_ROOT = Path(recsys.__file__).parents[1]


def find_revision(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return `OTAKU_REVISION` if set, else the commit of the checkout, `-dirty` if files differ; None if neither."""
    if given := environment.get(VARIABLE, "").strip():
        return given
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
