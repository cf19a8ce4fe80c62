"""Services end on request and with their owner; other processes are never stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from otaku.platform import guard
from otaku.platform.supervisor import (
    MARKER,
    Running,
    Service,
    free_port,
    identify_start,
    is_running,
    keep_running,
    start,
    stop,
    stop_orphans,
    wait_until_ready,
)
from recsys.exceptions import ServiceUnavailableError

Processes = Callable[[Path], list[str]]

DEAF = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
# A grandchild in a session of its own, as daemons make themselves.
RUNAWAY = (
    "import subprocess,sys,time; subprocess.Popen([sys.executable,'-c','import time; time.sleep(99)'],"
    "start_new_session=True); print('ran', flush=True); time.sleep(99)"
)


def _service(code: str, word: str, log: Path, **changes: object) -> Service:
    ready = lambda: word in log.read_text()  # noqa: E731
    service = Service("sleeper", (sys.executable, "-c", code), "nowhere", ready, grace=0.3, timeout=90)
    return replace(service, **changes)  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "service.log"


def _until(condition: Callable[[], bool], seconds: float = 90) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize(("code", "word"), [(DEAF, "deaf"), (RUNAWAY, "ran")])
def test_stop_ends_a_service_and_all_it_started(
    code: str, word: str, home: Path, log: Path, processes_of: Processes
) -> None:
    service = _service(code, word, log)
    running = start(service, log, home=home, owner=os.getpid())
    wait_until_ready(service, running, log)
    assert len(processes_of(home)) >= 2
    stop([running])
    assert not is_running(running)
    assert processes_of(home) == []


def test_a_killed_guard_takes_the_service_with_it(home: Path, log: Path, processes_of: Processes) -> None:
    service = _service("import time; print('up', flush=True); time.sleep(99)", "up", log)
    running = start(service, log, home=home, owner=os.getpid())
    wait_until_ready(service, running, log)
    os.kill(running.pid, signal.SIGKILL)
    assert _until(lambda: processes_of(home) == [])
    stop([running])


def test_orphans_of_a_killed_guard_are_found_without_any_state(home: Path, log: Path, processes_of: Processes) -> None:
    service = _service(RUNAWAY, "ran", log)
    running = start(service, log, home=home, owner=os.getpid())
    wait_until_ready(service, running, log)
    os.kill(running.pid, signal.SIGKILL)
    assert _until(lambda: len(processes_of(home)) == 1)  # the runaway grandchild
    assert stop_orphans(home) == 1
    assert processes_of(home) == []
    stop([running])


def test_processes_that_renamed_themselves_are_found_by_log_and_session(
    home: Path, log: Path, processes_of: Processes
) -> None:
    """Airflow's processes set their title, which overwrites the environment that `/proc` shows."""
    child = (
        "import os, signal, subprocess, sys, time; from setproctitle import setproctitle\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); setproctitle('other ' * 2000)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'], stdout=-3, stderr=-3, env={})\n"
        "print('renamed', os.getpid(), flush=True); time.sleep(99)"
    )
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(99)"
    service = _service(code, "renamed", log)
    running = start(service, log, home=home, owner=0)
    wait_until_ready(service, running, log)
    server = psutil.Process(running.pid)
    everybody = [server, *server.children(recursive=True)]
    assert len(everybody) == 4
    server.suspend()  # so that the guard cannot see its service end
    for process in (*server.children(), server):
        process.kill()
    assert _until(lambda: processes_of(home) == []), "nobody carries the marker"
    left = [process for process in everybody[2:] if process.is_running()]
    assert len(left) == 2
    assert stop_orphans(home, patience=0.3) == 0
    assert stop_orphans(home, logs=[log], patience=0.3) == 2
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
    stop([running])


def test_a_service_that_answered_is_started_again_whenever_it_ends(
    home: Path, log: Path, processes_of: Processes
) -> None:
    service = _service("import os, time; print('up', os.getpid(), flush=True); time.sleep(99)", "up", log)
    running = start(service, log, home=home, owner=os.getpid())
    wait_until_ready(service, running, log)
    keep_running(running)
    assert _until(lambda: "up" in log.read_text())
    for n_starts in (2, 3):
        (first,) = psutil.Process(running.pid).children()
        first.kill()
        assert _until(lambda: log.read_text().count("up ") == n_starts)  # noqa: B023 - used before the next turn
    assert "ended with -9; it is started again in 1 s" in log.read_text()
    stop([running])
    assert processes_of(home) == []


def test_the_death_of_the_owner_ends_the_service(home: Path, log: Path, processes_of: Processes) -> None:
    script = (
        "import os,sys,time; from pathlib import Path; from otaku.platform.supervisor import Service, start\n"
        f"home, log = Path({str(home)!r}), Path({str(log)!r})\n"
        f"service = Service('sleeper', (sys.executable, '-c', {DEAF!r}), '', lambda: True, grace=0.3)\n"
        "start(service, log, home=home, owner=os.getpid()); time.sleep(99)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3]) as owner:
        answered = _until(lambda: log.exists() and "deaf" in log.read_text())
        owner.kill()
    assert answered
    assert _until(lambda: processes_of(home) == [])


def test_a_recycled_pid_is_never_taken_for_the_service(home: Path) -> None:
    environment = {**os.environ, MARKER: str(home)}
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"], env=environment)
    try:
        assert is_running(Running("postgres", stranger.pid, identify_start(stranger.pid), "nowhere"))
        recycled = Running("postgres", stranger.pid, identify_start(os.getpid()), "nowhere")
        assert not is_running(recycled)
        stop([recycled])
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_service_that_ends_while_starting_shows_its_last_words(home: Path, log: Path) -> None:
    service = _service("import sys; sys.exit('no disk left')", "never", log)
    running = start(service, log, home=home, owner=os.getpid())
    with pytest.raises(ServiceUnavailableError, match=r"sleeper ended while starting(.|\n)*no disk left"):
        wait_until_ready(service, running, log)
    stop([running])


def test_a_service_that_never_answers_is_given_up(home: Path, log: Path) -> None:
    service = _service("import time; time.sleep(99)", "never", log, timeout=0.3)
    running = start(service, log, home=home, owner=os.getpid())
    with pytest.raises(ServiceUnavailableError, match="did not answer within"):
        wait_until_ready(service, running, log)
    stop([running])


def test_a_program_that_is_missing_is_named(home: Path, log: Path) -> None:
    service = _service("", "never", log, command=("/no/such/program",))
    running = start(service, log, home=home, owner=os.getpid())
    with pytest.raises(ServiceUnavailableError, match="/no/such/program: No such file"):
        wait_until_ready(service, running, log)
    stop([running])


def test_a_preferred_port_is_kept_only_while_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_long_log_is_put_aside(home: Path, log: Path) -> None:
    with log.open("wb") as file:
        file.truncate(11_000_000)
    service = _service("import time; print('up', flush=True); time.sleep(99)", "up", log)
    running = start(service, log, home=home, owner=os.getpid())
    wait_until_ready(service, running, log)
    stop([running])
    assert log.read_text() == "up\n"
    assert log.with_suffix(".log.1").stat().st_size == 11_000_000


def test_a_log_that_grows_while_its_service_runs_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with path.open("ab") as writer:
        writer.write(b"x" * 99)
        writer.flush()
        assert not guard.put_log_aside(writer.fileno(), 99)
        assert guard.put_log_aside(writer.fileno(), 98)
        writer.write(b"later")
    assert path.read_bytes() == b"later"
    assert path.with_name("a.log.1").read_bytes() == b"x" * 99
