"""The revision comes from the image or from git."""

import shutil
import subprocess
from pathlib import Path

import pytest

import recsys
from recsys import revision
from recsys.revision import find_revision


def test_the_revision_of_the_image_counts(tmp_path: Path) -> None:
    assert find_revision(tmp_path, {"OTAKU_REVISION": "abc"}) == "abc"
    assert find_revision(tmp_path, {"OTAKU_REVISION": ""}) is None


def test_code_without_a_revision_is_named_by_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(revision, "find_revision", lambda: None)
    assert str(revision.describe_code()["commit"]).startswith("files-")
    (tmp_path / "recsys").mkdir()
    digests = set()
    for content in ("a = 1", "a = 2"):
        (tmp_path / "recsys" / "module.py").write_text(content)
        digests.add(revision.compute_source_digest(tmp_path / "recsys"))
    assert len(digests) == 2


def test_the_version_is_that_of_setup_cfg() -> None:
    lines = (Path(__file__).parents[2] / "setup.cfg").read_text().splitlines()
    assert f"version = {recsys.__version__}" in lines


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_is_found_and_changes_are_marked(tmp_path: Path) -> None:
    assert find_revision(tmp_path, {}) is None

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
    assert find_revision(tmp_path, {}) == commit
    states = set()
    for content in ("b", "c"):
        (tmp_path / "a.txt").write_text(content)
        found = find_revision(tmp_path, {})
        assert found is not None
        assert found.startswith(f"{commit}-dirty-")
        states.add(found)
    assert len(states) == 2
