"""How a service loads native libraries: on one thread each, and without those that only training needs."""

import os
import sys
from typing import Final

_UNUSED: Final = "sklearn"
VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def pin_native_pools() -> None:
    """Let OpenBLAS, OpenMP and Numba compute on the thread that calls them, whatever the environment says.

    Their pools wait in busy loops for their last thread: as soon as another process takes one of the cores, a product
    that takes a millisecond on one thread takes hundreds on two. Call it before the libraries are loaded; those that
    are loaded already are limited as far as they allow it.
    """
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)


def load_lightgbm() -> None:
    """Load LightGBM without scikit-learn, which it imports wherever it is installed: 70 MiB that no request uses.

    Only LightGBM's own estimators for scikit-learn are missing then; scikit-learn itself can be imported later.
    """
    if _UNUSED in sys.modules or "lightgbm" in sys.modules:
        return
    sys.modules[_UNUSED] = None  # type: ignore[assignment] # an import fails then as if it were not installed
    try:
        import lightgbm  # noqa: F401
    finally:
        del sys.modules[_UNUSED]
