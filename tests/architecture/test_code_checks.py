"""The checks of `make check`, so that `make test` alone is enough to know that a change may go in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CHECKS = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    "types": ["mypy"],
    "imports": ["lint-imports", "--no-logo"],
}
# What a careless change could bring, and the contract that must break.
VIOLATIONS = {
    "framework in the core": ("recsys/data/planted.py", "import mlflow", "no framework"),
    "layer upside down": ("recsys/features/planted.py", "import recsys.retrieval", "layers of recsys"),
    "entry packages mixed": ("simulate_new_users/planted.py", "import retrain_model", "Entry packages"),
    "mlflow past the registry": ("app/planted.py", "import mlflow", "Only the registry"),
}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("check", CHECKS)
def test_check_passes(check: str) -> None:
    done = run(CHECKS[check], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copied_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "setup.cfg", copy)
    for package in ("recsys", "simulate_new_users", "retrain_model", "app", "otaku"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_import_contracts_catch(violation: str, copied_packages: Path) -> None:
    file, line, contract = VIOLATIONS[violation]
    planted = copied_packages / file
    planted.write_text(f'"""Planted."""\n\n{line}\n', encoding="utf-8")
    try:
        done = run(["lint-imports", "--no-cache", "--no-logo"], copied_packages)
    finally:
        planted.unlink()
    assert done.returncode == 1
    broken = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert any(contract in row for row in broken), done.stdout
