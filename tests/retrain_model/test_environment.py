import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from retrain_model.environment import compute_lock_hash, describe_environment, find_commit


def test_the_lock_beside_the_package_counts(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "platform.txt").write_bytes(b"numpy==2.0\n")
    assert compute_lock_hash(tmp_path) == hashlib.sha256(b"numpy==2.0\n").hexdigest()


def test_without_a_lock_what_is_installed_counts(tmp_path: Path) -> None:
    assert compute_lock_hash(tmp_path) == compute_lock_hash(tmp_path / "elsewhere")
    assert len(compute_lock_hash(tmp_path)) == 64


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_is_found_and_changes_are_marked(tmp_path: Path) -> None:
    assert find_commit(tmp_path) is None

    def git(*arguments: str) -> str:
        own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *own, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "a.txt").write_text("a")
    git("add", "a.txt")
    git("commit", "--quiet", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert find_commit(tmp_path) == commit
    (tmp_path / "a.txt").write_text("b")
    assert find_commit(tmp_path) == f"{commit}-dirty"


def test_the_environment_is_told_in_json() -> None:
    found = describe_environment(3)
    assert json.loads(json.dumps(found)) == found
    assert found["n_threads"] == 3
    assert found["packages"]["lightgbm"]
