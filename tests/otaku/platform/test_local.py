"""The platform as a whole: up, found again, repaired, replaced by outside services, and gone without a trace."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg2
import pytest
from pydantic import HttpUrl, SecretStr

from otaku.platform import local, object_store, postgres, tracking
from otaku.platform.local import LocalPlatform, resolve_settings
from otaku.platform.part import Part
from otaku.platform.state import read_state
from recsys.exceptions import ConfigurationError, ServiceUnavailableError
from recsys.settings import Settings

Processes = Callable[[Path], list[str]]

FAST = (object_store.PART, postgres.PART)  # MLflow takes seconds and is part of the command-line tests
ROOT = Path(__file__).parents[3]


def _platform(given: Settings, parts: tuple[Part, ...] = FAST) -> LocalPlatform:
    return LocalPlatform(given, durable=False, parts=parts)


def _execute(platform: LocalPlatform, statement: str) -> list[tuple[object, ...]]:
    url = platform.settings().database_url
    assert url is not None
    with closing(psycopg2.connect(url.get_secret_value())) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_data_ports_and_credentials_survive_in_a_deep_home(given: Settings, processes_of: Processes) -> None:
    deep = given.home / ("a-folder-with-a-long-name-" * 4) / ("another-one-below-it-" * 4)
    given = given.model_copy(update={"home": deep})
    platform = _platform(given)
    try:
        assert platform.bring_up(detached=True)
        before = platform.settings()
        _execute(platform, "CREATE TABLE kept AS SELECT 7 AS n")
        assert not _platform(given).bring_up(detached=True), "the second finds the first"
        assert platform.take_down() == ["s3", "postgres"]
        assert platform.take_down() == []
        assert processes_of(deep) == []
        assert platform.bring_up(detached=True)
        assert platform.settings() == before
        assert _execute(platform, "SELECT n FROM kept") == [(7,)]
    finally:
        platform.take_down()


def test_the_block_ends_its_services_even_when_it_fails(given: Settings, processes_of: Processes) -> None:
    platform = _platform(given)

    def fail_inside() -> None:
        with platform:
            assert {row.name: row.problem for row in platform.report()} == {"s3": None, "postgres": None}
            assert len(platform.running()) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert processes_of(given.home) == []
    with pytest.raises(ConfigurationError, match=r"s3, postgres not running .* run otaku up"):
        platform.settings()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_survives_its_process(number: int, given: Settings, processes_of: Processes) -> None:
    script = (
        "import time; from otaku.platform import local, object_store, postgres; from recsys.settings import Settings\n"
        f"given = Settings(_env_file=None, home={str(given.home)!r})\n"
        "with local.LocalPlatform(given, durable=False, parts=(object_store.PART, postgres.PART)):\n"
        "    print('up', flush=True); time.sleep(99)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert len(processes_of(given.home)) >= 4
        owner.send_signal(number)
    deadline = time.monotonic() + 90
    while processes_of(given.home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(given.home) == []


def test_what_died_is_started_again_and_what_lives_is_kept(given: Settings) -> None:
    with _platform(given) as platform:
        before = {entry.name: entry.pid for entry in platform.running()}
        psutil.Process(before["s3"]).kill()
        while len(platform.running()) > 1:
            time.sleep(0.05)
        assert [row.problem for row in platform.report()] == ["not running", None]
        assert platform.bring_up()
        after = {entry.name: entry.pid for entry in platform.running()}
        assert after["postgres"] == before["postgres"]
        assert after["s3"] != before["s3"]
        assert all(row.healthy for row in platform.report())


def test_servers_that_are_killed_are_started_again_at_their_place(given: Settings) -> None:
    with LocalPlatform(given, parts=FAST) as platform:
        before = platform.settings()
        _execute(platform, "CREATE TABLE kept AS SELECT 7 AS n")
        for entry in platform.running():
            for process in psutil.Process(entry.pid).children():
                process.kill()
        deadline = time.monotonic() + 60
        while any(row.problem for row in platform.report()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [row.problem for row in platform.report()] == [None, None]
        assert platform.settings() == before
        assert _execute(platform, "SELECT n FROM kept") == [(7,)]
        assert not platform.bring_up(), "the guards did it"


def test_a_lost_state_is_repaired_and_loses_no_data(given: Settings, caplog: pytest.LogCaptureFixture) -> None:
    first = _platform(given)
    try:
        first.bring_up(detached=True)
        pids = [entry.pid for entry in first.running()]
        _execute(first, "CREATE TABLE kept AS SELECT 7 AS n")
        (given.home / "state.json").write_text('{"version": 1, "serv')
        with _platform(given) as second:
            assert _execute(second, "SELECT n FROM kept") == [(7,)]
        assert "orphan processes" in caplog.text
        assert not any(map(psutil.pid_exists, pids)), "not even a zombie"
    finally:
        first.take_down()


def test_a_lock_of_a_killed_server_whose_pid_is_in_use_again_is_removed(given: Settings) -> None:
    with _platform(given, (postgres.PART,)):
        lock = (given.home / "postgres" / "postmaster.pid").read_text().splitlines()
    stale = "\n".join([str(os.getpid()), *lock[1:]])
    (given.home / "postgres" / "postmaster.pid").write_text(stale + "\n")
    with _platform(given, (postgres.PART,)) as platform:
        assert _execute(platform, "SELECT 1") == [(1,)]


def test_a_server_that_we_did_not_start_is_named(given: Settings) -> None:
    data = given.home / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    command = [sys.executable, "-c", "import time; time.sleep(99)", str(data)]
    with subprocess.Popen(command) as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n")
        with pytest.raises(ServiceUnavailableError, match=rf"stop it with kill -INT {stranger.pid}"):
            _platform(given, (postgres.PART,)).bring_up()
        stranger.kill()


def test_data_of_another_version_are_refused(given: Settings, processes_of: Processes) -> None:
    (given.home / "postgres").mkdir()
    (given.home / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigurationError, match="written by PostgreSQL 15, version 18 is installed"):
        _platform(given).bring_up()
    assert processes_of(given.home) == [], "S3, started before, is stopped again"


def test_a_port_taken_at_the_last_moment_is_replaced(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        offers = [taken]
        choose = local.free_port
        monkeypatch.setattr(local, "free_port", lambda preferred=None: offers.pop() if offers else choose(preferred))
        with _platform(given, (postgres.PART,)) as platform:
            assert read_state(given.home).ports["postgres"] != taken
            assert _execute(platform, "SELECT 1") == [(1,)]


def test_outside_services_are_used_and_not_started(given: Settings, s3_settings: Settings) -> None:
    outside = s3_settings.model_copy(update={"home": given.home})
    with _platform(outside) as platform:
        assert platform.running() == []
        assert platform.settings().database_url == s3_settings.database_url
        report = platform.report()
        assert [(row.outside, row.healthy) for row in report] == [(True, True), (True, True)]
        assert [row.url for row in report] == ["OTAKU_S3_ENDPOINT_URL", "OTAKU_DATABASE_URL"]
    assert not (given.home / "postgres").exists()
    assert resolve_settings(outside.model_copy(update={"mlflow_tracking_uri": "https://x"})).home == given.home


@pytest.mark.parametrize(
    ("variable", "changes"),
    [
        ("OTAKU_DATABASE_URL", {"database_url": SecretStr("postgresql://me:hunter2@127.0.0.1:1/x")}),
        ("OTAKU_S3_ENDPOINT_URL", {"s3_endpoint_url": HttpUrl("http://127.0.0.1:1")}),
        ("MLFLOW_TRACKING_URI", {"mlflow_tracking_uri": "http://127.0.0.1:1"}),
    ],
)
def test_an_outside_service_that_does_not_answer_is_blamed_by_its_setting(
    variable: str, changes: dict[str, object], given: Settings
) -> None:
    keys = {"aws_access_key_id": SecretStr("otakuotaku"), "aws_secret_access_key": SecretStr("hunter2")}
    platform = LocalPlatform(given.model_copy(update={**keys, **changes}))
    with pytest.raises(ServiceUnavailableError, match=f"named by {variable}: ") as caught:
        platform.bring_up()
    assert "hunter2" not in str(caught.value)
    assert platform.running() == []
    assert [row.problem is None for row in platform.report() if row.outside] == [False]


def test_the_environment_speaks_every_client_s_language(given: Settings) -> None:
    with _platform(given) as platform:
        names, endpoint = platform.environment(), str(platform.settings().s3_endpoint_url).rstrip("/")
    assert names["MLFLOW_S3_ENDPOINT_URL"] == names["OTAKU_S3_ENDPOINT_URL"] == endpoint
    assert names["OTAKU_DATABASE_URL"].startswith("postgresql://otaku:")
    assert names["AWS_ACCESS_KEY_ID"].startswith("otaku")
    assert "MLFLOW_TRACKING_URI" not in names


def test_parts_start_after_what_they_need_and_stop_before_it(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[list[str]] = []
    stop = local.stop
    monkeypatch.setattr(local, "stop", lambda leaving: (stopped.append([e.name for e in leaving]), stop(leaving)))
    sleeper = object_store.PART
    web = replace(sleeper, name="web", needs=("s3",), describe=lambda site, port: _rename(sleeper, "web", site, port))
    ready: list[str] = []
    platform = _platform(given, (web, sleeper))
    try:
        platform.bring_up(on_ready=ready.append)
    finally:
        platform.take_down()
    assert ready == ["s3", "web"]
    assert stopped == [["web"], ["s3"]]


def _rename(part: Part, name: str, *place: object) -> object:
    return replace(part.describe(*place), name=name)  # type: ignore[arg-type]


def test_tracking_uris_that_are_no_server_are_not_asked() -> None:
    assert tracking.problem_of("file:///somewhere") is None
    assert tracking.problem_of("http://127.0.0.1:1") is not None
