"""Processors of this process: affinity, and the quotas of cgroups of both versions."""

import os
from pathlib import Path

import pytest

from recsys.cpus import count_cpus


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def test_without_a_quota_it_is_the_affinity(tmp_path: Path, own: Path) -> None:
    assert count_cpus(tmp_path / "none", own) == len(os.sched_getaffinity(0))
    own.write_text("0::/slice/mine\n")
    write(tmp_path / "slice" / "mine", cpu__max="max 100000\n")
    assert count_cpus(tmp_path, own) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "n"), [("50000 100000", 1), ("100000 100000", 1), ("150000 100000", 2)])
def test_a_quota_of_version_2_holds_wherever_it_is_set_above(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch, quota: str, n: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    own.write_text("0::/slice/mine\n")
    write(tmp_path / "slice", cpu__max=quota)
    write(tmp_path / "slice" / "mine", cpu__max="max 100000")
    assert count_cpus(tmp_path, own) == n


def test_a_quota_of_version_1_is_read(tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    own.write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    write(tmp_path / "cpu" / "docker" / "abc", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
    assert count_cpus(tmp_path, own) == 3


def test_what_cannot_be_read_limits_nothing(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/mine\n")
    write(tmp_path / "mine", cpu__max="a few")
    assert count_cpus(tmp_path, own) == len(os.sched_getaffinity(0))
