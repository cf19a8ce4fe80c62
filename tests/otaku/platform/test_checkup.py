"""The findings of `otaku doctor` and their remedies."""

import socket
import uuid
from collections import namedtuple
from pathlib import Path

import pytest

from otaku.platform import checkup
from otaku.platform.checkup import Check, examine
from recsys.connections import open_engine, open_registry
from recsys.exceptions import ConfigurationError
from recsys.memory import Memory
from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.migration import migrate


def _named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_healthy_machine_that_has_not_started_yet(given: Settings) -> None:
    checks = examine(lambda: given)
    assert [check.name for check in checks if check.required and not check.ok] == []
    assert _named(checks, "postgres") == Check("postgres", False, "not running", "run otaku up", required=False)
    assert all(check.remedy is None for check in checks if check.ok)


def test_wrong_settings_end_the_examination_with_their_name() -> None:
    def read() -> Settings:
        raise ConfigurationError("wrong settings: OTAKU_PORT: too large")

    last = examine(read)[-1]
    assert (last.name, last.ok, last.required) == ("settings", False, True)
    assert "OTAKU_PORT" in last.found


def test_what_is_missing_comes_with_a_remedy(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda _path: usage(10, 10, 0))
    monkeypatch.setattr(checkup.shutil, "which", lambda _name: None)
    monkeypatch.setattr(checkup, "find_spec", lambda _name: None)
    monkeypatch.setattr(checkup.sys, "version_info", (3, 13, 0))
    checks = examine(lambda: given)
    missing = {check.name for check in checks if check.required and not check.ok}
    assert missing >= {"disk", "Python", "package mlflow", "package lightgbm"}
    assert not _named(checks, "C compiler").ok
    assert all(check.remedy for check in checks if not check.ok)


def test_a_taken_service_port_and_an_outside_service_that_is_down(given: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        changes = {"port": listener.getsockname()[1], "mlflow_tracking_uri": "http://127.0.0.1:1"}
        checks = examine(lambda: given.model_copy(update=changes))
    assert _named(checks, "service port").remedy == "set OTAKU_PORT to another port, or 0 for any"
    assert _named(checks, "mlflow").remedy == "correct MLFLOW_TRACKING_URI, or unset it for the embedded one"


def test_a_misspelt_variable_is_named_with_what_was_meant(
    given: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not [check for check in examine(lambda: given) if check.found == "set, but nothing reads it"]
    monkeypatch.setenv("OTAKU_API_KEY", "secret")
    monkeypatch.setenv("OTAKU_SHOE_SIZE", "43")
    monkeypatch.setenv("OTAKU_MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # read without the prefix
    monkeypatch.setenv("otaku_port", "9000")  # read in any case
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OTAKU_DATABASE_URI=postgresql://\n")
    checks = examine(lambda: given)
    assert _named(checks, "OTAKU_DATABASE_URI").remedy == "did you mean OTAKU_DATABASE_URL?"
    assert not _named(checks, "OTAKU_MLFLOW_TRACKING_URI").ok
    assert "otaku_port" not in [check.name for check in checks]
    assert _named(checks, "OTAKU_API_KEY").remedy == "did you mean OTAKU_API_KEYS?"
    assert "docs/configuration.md" in str(_named(checks, "OTAKU_SHOE_SIZE").remedy)
    assert not any("secret" in check.found for check in checks)


def test_a_file_of_settings_that_is_no_text_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"OTAKU_PORT=\xff\xfe")
    last = examine()[-1]
    assert (last.name, last.ok) == ("settings", False)


@pytest.mark.local
def test_the_memory_of_a_retraining_is_predicted_for_the_present_data(settings: Settings) -> None:
    with open_engine(settings) as engine:
        migrate(engine)
    plenty, tight, small = Memory(64 << 30, 32 << 30), Memory(64 << 30, 1 << 20), Memory(1 << 29, 1 << 29)
    found = checkup.check_retraining(settings, plenty)
    assert found.ok
    assert "32.0 of 64.0 GiB are free" in found.found
    assert checkup.check_retraining(settings, tight).remedy == "close programs, or set OTAKU_TRAIN_THREADS=1"
    one_thread = settings.model_copy(update={"train_threads": 1})
    assert checkup.check_retraining(one_thread, small) == Check(
        "retraining",
        False,
        f"{found.found.split(';')[0]}; 0.5 of 0.5 GiB are free",
        "use a larger machine, or raise the limit of the cgroup",
        required=False,
    )
    (line,) = [check for check in examine(lambda: settings) if check.name == "retraining"]
    assert line.found.startswith(found.found.split(";")[0])


@pytest.mark.local
def test_the_ledger_is_compared_with_what_mlflow_shows(settings: Settings, tmp_path: Path) -> None:
    given = settings.model_copy(update={"model_name": f"doctor-{uuid.uuid4().hex[:8]}"})
    assert checkup.check_ledger(given) == Check("ledger", True, "MLflow shows what it says")
    registry = open_registry(given)
    (tmp_path / "model.json").write_text("{}")
    version = registry.register_model(registry.start_run("week"), tmp_path, "week")
    with open_engine(given) as engine:
        promotion.promote(engine, registry, version, run_key="m", champion=None, actor="user:mai", reason="a test")
    assert checkup.check_ledger(given).ok
    registry.point_alias("production", None)
    found = checkup.check_ledger(given)
    assert (found.ok, found.required) == (False, True)
    assert found.found == "alias production is at version None, by the ledger at 1"
    (line,) = [check for check in examine(lambda: given) if check.name == "ledger"]
    assert line == found
