"""`otaku keys` against a real table, in this process."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from otaku.cli import app
from otaku.platform.environment import settings_environment
from recsys.connections import open_engine
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings
from recsys.storage.api_keys import compute_key_digest, read_api_keys

pytestmark = pytest.mark.local


@pytest.fixture
def runner(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_a_key_is_made_listed_and_revoked(runner: CliRunner, settings: Settings) -> None:
    assert "no key yet" in runner.invoke(app, ["keys", "list"]).stdout
    arguments = ["keys", "create", "the [/pages]", "--scope", "recommend", "--scope", "write", "--limit", "9/second"]
    key = runner.invoke(app, arguments, catch_exceptions=False).stdout.strip()
    with open_engine(settings) as engine, engine.connect() as connection:
        (stored,) = read_api_keys(connection)

    assert stored.digest == compute_key_digest(key.encode())
    assert (stored.scopes, stored.rate_limit) == (("recommend", "write"), "9/second")
    listed = runner.invoke(app, ["keys", "list"]).stdout
    assert "the [/pages]" in listed
    assert key not in listed
    (found,) = json.loads(runner.invoke(app, ["keys", "list", "--json"]).stdout)
    assert (found["name"], found["rate_limit"], found["digest"]) == ("the [/pages]", "9/second", stored.digest)
    with pytest.raises(ConfigurationError, match=r"no key is named 'nobody'; there are keys of: the \[/pages\]"):
        runner.invoke(app, ["keys", "revoke", "nobody"], catch_exceptions=False)
    assert runner.invoke(app, ["keys", "revoke", "the [/pages]"]).stdout == "1 key of 'the [/pages]' revoked.\n"
    with pytest.raises(ConfigurationError, match="no key is named 'nobody'; there are none"):
        runner.invoke(app, ["keys", "revoke", "nobody"], catch_exceptions=False)


@pytest.mark.parametrize("wrong", [["--scope", "everything"], ["--limit", "often"]])
def test_a_key_that_makes_no_sense_is_not_made(runner: CliRunner, wrong: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        runner.invoke(app, ["keys", "create", "x", *wrong], catch_exceptions=False)
