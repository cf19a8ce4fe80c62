"""The command line as a user meets it: real processes, real exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from otaku import cli
from otaku.platform.supervisor import MARKER
from recsys.exceptions import UnknownUserError
from tests.fork_server import run_program

ROOT = Path(__file__).parents[2]
COMMANDS = ("up", "down", "status", "doctor", "sample", "ingest", "simulate", "serve")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a home of its own, left without a process."""
    home = tmp_path / "home"
    values = {**os.environ, "OTAKU_HOME": str(home), "COLUMNS": "200"}
    yield values
    _run(values, "down")
    assert _processes(home) == []


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    # Started elsewhere than in the repository, so that a .env in it has no say.
    return run_program(["-m", "otaku", *arguments], env=environment, cwd="/")


def _processes(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_up_status_down_round_trip(environment: dict[str, str]) -> None:
    first = _run(environment, "up", "--no-airflow")
    assert first.returncode == 0, first.stderr
    assert "The platform is up." in first.stdout
    assert "will listen on 127.0.0.1:8080, without API keys, for this machine." in first.stdout
    status = json.loads(_run(environment, "status", "--json").stdout)
    assert {row["name"]: row["healthy"] for row in status["services"]} == {"s3": True, "postgres": True, "mlflow": True}

    second = _run(environment, "up", "--no-airflow")
    assert "The platform was up already." in second.stdout
    assert json.loads(_run(environment, "status", "--json").stdout) == status

    assert _run(environment, "down").stdout == "Stopped s3, postgres, mlflow.\n"
    again = _run(environment, "down")
    assert (again.returncode, again.stdout) == (0, "Nothing was running.\n")
    assert _run(environment, "status").returncode == 1


def test_ctrl_c_during_the_start_leaves_nothing(environment: dict[str, str]) -> None:
    home = Path(environment["OTAKU_HOME"])
    command = [sys.executable, "-m", "otaku", "up", "--no-airflow"]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (home / "logs" / "postgres.log").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert _processes(home) == []


def test_what_is_missing_is_said_in_one_sentence(environment: dict[str, str]) -> None:
    result = _run(environment, "simulate", "--day", "2026-01-06")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "run otaku up" in result.stderr


@pytest.mark.parametrize(
    ("variable", "value"), [("OTAKU_PORT", "many"), ("OTAKU_DATABASE_URL", "mysql://x"), ("OTAKU_S3_BUCKET", "A_B")]
)
def test_a_wrong_setting_is_named(variable: str, value: str, environment: dict[str, str]) -> None:
    result = _run({**environment, variable: value}, "up", "--no-airflow")
    assert result.returncode == 1
    assert result.stderr.startswith(f"otaku: wrong settings: {variable}: ")


def test_wrong_usage_exits_with_2(environment: dict[str, str]) -> None:
    assert _run(environment, "simulate").returncode == 2
    assert _run(environment, "fly").returncode == 2


def test_help_is_complete_and_imports_nothing_heavy() -> None:
    script = (
        "import sys; from otaku.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'numpy', 'boto3', 'mlflow', 'sqlalchemy', 'pydantic', 'psutil', 'uvicorn', 'lightgbm'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"imports {result.stderr}"
    assert all(f" {command} " in result.stdout for command in COMMANDS)


def test_an_error_of_ours_is_a_traceback_only_for_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise UnknownUserError("no user 7")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "otaku: no user 7\n"
    monkeypatch.setenv("OTAKU_LOG_LEVEL", "DEBUG")
    with pytest.raises(UnknownUserError):
        cli.main()
