"""Every way in answers `--help` at once, without a service, a setting or a heavy import."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["app", "simulate_new_users", "retrain_model", "otaku"])
def test_module_answers_help(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
