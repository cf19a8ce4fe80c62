"""A service is open only where a setting says so, or where no other machine reaches it."""

from pathlib import Path
from typing import Any

import pytest

from app.__main__ import main
from recsys.exceptions import ConfigurationError
from recsys.settings import load_settings

SERVICES = {
    "OTAKU_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Hosts on which a server was started."""
    started: list[Any] = []
    monkeypatch.chdir(tmp_path)
    for name, value in SERVICES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("app.server.configure_logs", lambda *_: None)
    monkeypatch.setattr("app.server.uvicorn.Server.run", lambda server: started.append(server.config.host))
    return started


@pytest.mark.parametrize("keys", ["", " , ", ","])
def test_keys_that_are_set_but_empty_are_an_error(
    keys: str, served: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTAKU_API_KEYS", keys)
    with pytest.raises(ConfigurationError, match=r"OTAKU_API_KEYS: .*holds no key"):
        load_settings()
    assert main() == 1
    assert "OTAKU_API_KEYS" in capsys.readouterr().err
    assert served == []


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"OTAKU_HOST": "0.0.0.0"}, "on 0.0.0.0 the service needs OTAKU_API_KEYS"),  # noqa: S104
        ({"OTAKU_HOST": "::"}, "needs OTAKU_API_KEYS"),
        ({"OTAKU_HOST": ""}, "needs OTAKU_API_KEYS"),
        ({"OTAKU_HOST": "192.0.2.7"}, "OTAKU_AUTH=none"),
        ({"OTAKU_HOST": "anime.example.org"}, "OTAKU_AUTH=none"),
        ({"OTAKU_AUTH": "keys"}, "OTAKU_AUTH=keys, but OTAKU_API_KEYS is not set"),
        ({"OTAKU_AUTH": "none", "OTAKU_API_KEYS": "secret"}, "OTAKU_AUTH=none, but OTAKU_API_KEYS is set"),
        ({"OTAKU_AUTH": "off"}, "OTAKU_AUTH"),
    ],
)
def test_an_open_service_that_was_not_asked_for_does_not_start(
    environment: dict[str, str],
    sentence: str,
    served: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main() == 1
    written = capsys.readouterr().err
    assert sentence in written
    assert len(written.splitlines()) == 1
    assert "secret" not in written
    assert served == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTAKU_HOST": "localhost"},
        {"OTAKU_HOST": "::1"},
        {"OTAKU_HOST": "127.0.0.2", "OTAKU_API_KEYS": "k"},
        {"OTAKU_HOST": "0.0.0.0", "OTAKU_API_KEYS": "database"},  # noqa: S104
        {"OTAKU_HOST": "0.0.0.0", "OTAKU_API_KEYS": "k", "OTAKU_AUTH": "keys"},  # noqa: S104
        {"OTAKU_HOST": "0.0.0.0", "OTAKU_AUTH": "none"},  # noqa: S104
    ],
)
def test_what_was_asked_for_starts(
    environment: dict[str, str], served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main() == 0
    assert served == [environment.get("OTAKU_HOST", "127.0.0.1")]
