"""What the home remembers survives, and damage to it is repaired or refused in a sentence."""

import fcntl
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from otaku.platform.state import (
    State,
    locked,
    prepare_home,
    read_credentials,
    read_state,
    write_state,
)
from otaku.platform.supervisor import Running, identify_start, stop
from recsys.exceptions import ConfigurationError, ServiceUnavailableError

STATE = State((Running("s3", 42, "boot/15", "http://127.0.0.1:9"),), {"s3": 9})


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_state_is_read_as_written(tmp_path: Path) -> None:
    assert read_state(tmp_path) == State()
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE
    assert _mode(tmp_path / "state.json") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "services": [{"na',
        b"[]",
        b"\xff\xfe",
        b'{"version": 99, "services": [], "ports": {}}',
        b'{"version": 1, "services": [{"name": "s3"}], "ports": {}}',
        b'{"version": 1, "services": 3, "ports": {}}',
    ],
)
def test_a_broken_state_is_put_aside(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state.json").write_bytes(content)
    assert read_state(tmp_path) == State()
    assert (tmp_path / "state.json.broken").read_bytes() == content
    assert "starting afresh" in caplog.text


def test_home_and_credentials_are_for_the_owner_alone(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "deep" / "home")
    first = read_credentials(home)
    assert _mode(home) == 0o700
    assert _mode(home / "credentials.json") == 0o600
    assert read_credentials(prepare_home(home)) == first
    assert read_credentials(prepare_home(tmp_path / "other")) != first
    assert len(first.access_key_id) >= 10


def test_damaged_credentials_are_refused(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"database_pass')
    with pytest.raises(ConfigurationError, match=r"credentials.json is damaged; restore it"):
        read_credentials(tmp_path)
    (tmp_path / "credentials.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(ConfigurationError, match=r"credentials.json is damaged"):
        read_credentials(tmp_path)


def test_missing_credentials_are_not_invented_for_running_services(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run otaku up"):
        read_credentials(tmp_path, create=False)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"OTAKU_HOME=.*file/home"):
        prepare_home(tmp_path / "file" / "home")


def test_the_lock_is_held_by_one_and_a_leftover_lock_file_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4242")
    with locked(tmp_path, timeout=0.2):
        with (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(ServiceUnavailableError, match="another otaku command"), locked(tmp_path, timeout=0.2):
            pass
    with locked(tmp_path, timeout=0.2):
        pass


def test_a_planted_state_is_not_believed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    write_state(tmp_path, STATE)
    (tmp_path / "state.json").rename(elsewhere)
    (tmp_path / "state.json").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match=r"state\.json is a link and is not followed; remove it"):
        read_state(tmp_path)
    (tmp_path / "state.json").unlink()
    os.mkfifo(tmp_path / "state.json")
    with pytest.raises(ConfigurationError, match="is no file of yours and is not read; remove it"):
        read_state(tmp_path)
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_and_folders_of_others_are_refused(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "home")
    write_state(home, STATE)
    read_credentials(home)
    for name, read in (("state.json", read_state), ("credentials.json", read_credentials)):
        os.chown(home / name, 12_345, 12_345)
        with pytest.raises(ConfigurationError, match="is no file of yours"):
            read(home)
    os.chown(home, 12_345, 12_345)
    with pytest.raises(ConfigurationError, match="belongs to another user; choose a folder of yours"):
        prepare_home(home)


def test_the_mode_of_a_linked_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    with pytest.raises(ConfigurationError, match="is a link to a folder that others may read; chmod 700 it"):
        prepare_home(tmp_path / "home")
    assert _mode(tmp_path / "disk") == 0o755
    (tmp_path / "disk").chmod(0o700)
    assert prepare_home(tmp_path / "home") == tmp_path / "home"


def test_a_full_disk_leaves_the_old_state_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(tmp_path, STATE)

    def fill_the_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_state(tmp_path, State())
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert read_state(tmp_path) == STATE


def test_no_process_is_signalled_that_is_of_no_platform() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            planted = Running("s3", other.pid, identify_start(other.pid), "http://127.0.0.1:9")
            assert planted.process() is None
            stop([planted], patience=0.1)
            assert other.poll() is None
        finally:
            other.kill()
