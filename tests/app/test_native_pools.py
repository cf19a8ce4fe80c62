"""Requests share the cores; native libraries start no threads of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.native_pools import VARIABLES

LOOK = """
import json, sys
from app import __main__
if "loaded" in sys.argv:
    import numpy, scipy.linalg
import app.native_pools
app.native_pools.pin_native_pools()
import app.server, numba, lightgbm, onnxruntime, scipy.linalg, threadpoolctl
print(json.dumps({"pools": threadpoolctl.threadpool_info(), "numba": numba.get_num_threads()}))
"""


@pytest.mark.parametrize("before", [(), ("loaded",)], ids=["nothing loaded", "numpy loaded"])
def test_every_pool_has_one_thread_whatever_the_environment_says(before: tuple[str, ...]) -> None:
    environment = os.environ | dict.fromkeys(VARIABLES, "2")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *before], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)

    assert {pool["user_api"] for pool in found["pools"]} >= {"blas", "openmp"}
    assert {pool["num_threads"] for pool in found["pools"]} == {1}
    assert found["numba"] == 1


def test_the_entry_point_loads_no_native_library_before_it_pins() -> None:
    code = "import sys, app.__main__; print(sorted({'numpy', 'scipy', 'numba', 'lightgbm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("before", ["", "import sklearn; "], ids=["nothing loaded", "scikit-learn loaded"])
def test_lightgbm_brings_no_scikit_learn_along_and_leaves_it_to_others(before: str) -> None:
    code = (
        f"import sys; {before}from app.native_pools import load_lightgbm; had = 'sklearn' in sys.modules; "
        "load_lightgbm(); import lightgbm; print(('sklearn' in sys.modules) == had); "
        "import sklearn.feature_extraction.text; print('found')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "found"]
