import hashlib
import json
from pathlib import Path

from retrain_model.environment import compute_lock_hash, describe_environment


def test_the_lock_beside_the_package_counts(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "platform.txt").write_bytes(b"numpy==2.0\n")
    assert compute_lock_hash(tmp_path) == hashlib.sha256(b"numpy==2.0\n").hexdigest()


def test_without_a_lock_what_is_installed_counts(tmp_path: Path) -> None:
    assert compute_lock_hash(tmp_path) == compute_lock_hash(tmp_path / "elsewhere")
    assert len(compute_lock_hash(tmp_path)) == 64


def test_the_environment_is_told_in_json() -> None:
    found = describe_environment(3)
    assert json.loads(json.dumps(found)) == found
    assert found["n_threads"] == 3
    assert found["packages"]["lightgbm"]
