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
    """Name the version of the packages and the revision of the code that runs: without one, a digest of its files."""
    return {"recsys": recsys.__version__, "commit": find_revision() or f"files-{compute_source_digest()[:12]}"}


def compute_source_digest(package: Path = Path(recsys.__file__).parent) -> str:
    """Compute one SHA-256 over the names and contents of the Python files of a package and of `retrain_model`."""
    hasher = hashlib.sha256()
    for folder in (package, package.parent / "retrain_model"):
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            hasher.update(f"{path.relative_to(package.parent).as_posix()} {len(content)}\n".encode() + content)
    return hasher.hexdigest()


def _ask_git(root: Path, *arguments: str) -> bytes | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
