"""Settings that are wrong, or not the user's own, are told in one sentence that holds no secret."""

import os
import stat
from pathlib import Path

import pytest

from recsys.exceptions import ConfigurationError
from recsys.settings import find_unknown_variables, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("variable", ["OTAKU_DATABASE_URL", "OTAKU_REDIS_URL"])
@pytest.mark.parametrize(
    "rest",
    ["me:s3cr3t/word@host/db", "me:s3cr3t@host:portword/db", "me:s3cr3t@host:99999/db", "me:s3cr3t@[::1/db", "a b@h"],
)
def test_a_url_that_no_driver_could_read_is_refused_without_its_password(
    variable: str, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = "postgresql" if variable == "OTAKU_DATABASE_URL" else "redis"
    monkeypatch.setenv(variable, f"{scheme}://{rest}")
    with pytest.raises(ConfigurationError, match=rf"^wrong settings: {variable}: .*is no URL; .*escaped") as found:
        load_settings()
    assert "s3cr3t" not in str(found.value)
    assert "word@" not in str(found.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host/db",
        "postgresql+psycopg2://me:p%2Fw%40d@[::1]:5432/db?sslmode=require",
        "postgresql:///db?host=/var/run/postgresql",
    ],
)
def test_urls_of_all_kinds_pass(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTAKU_DATABASE_URL", url)
    assert load_settings().require_database_url() == url


def test_the_users_own_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTAKU_PORT=8123\nOTAKU_PROT=1\n")
    assert load_settings().port == 8123
    assert find_unknown_variables()["OTAKU_PROT"] == "OTAKU_PORT"


def test_a_file_that_others_may_have_written_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / ".env"
    path.write_text("OTAKU_PORT=8123\n")
    path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWOTH)
    assert load_settings().port == 8080
    assert f"{path} is not read: another user may have written it; own it or remove it" in caplog.text
    if os.geteuid() == 0:
        path.chmod(0o600)
        os.chown(path, 12_345, 12_345)
        assert load_settings().port == 8080
