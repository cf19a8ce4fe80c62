"""Native libraries do not wait for each other in busy loops."""

import os
import subprocess
import sys

SCRIPT = """
import recsys, lightgbm, numpy, os, threadpoolctl
found = {pool["user_api"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
print(found["blas"], os.environ["OMP_WAIT_POLICY"])
"""


def run_script(**environment: str) -> list[str]:
    unset = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    }
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=unset | environment, check=True, capture_output=True, text=True
    )
    return found.stdout.split()


def test_libraries_that_are_loaded_afterwards_compute_on_one_thread_and_sleep_while_they_wait() -> None:
    assert run_script() == ["1", "PASSIVE"]


def test_whoever_sets_them_otherwise_is_not_overruled() -> None:
    assert run_script(OPENBLAS_NUM_THREADS="1", OMP_WAIT_POLICY="ACTIVE") == ["1", "ACTIVE"]
