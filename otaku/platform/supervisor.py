"""Start services in order, wait until they answer, stop them by pid and start time."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from otaku.platform import guard
from recsys.exceptions import MachineError, ServiceUnavailableError

logger = logging.getLogger(__name__)

MARKER = "OTAKU_SERVICE"
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 5
# A new PostgreSQL alone takes 50 MiB.
_LEAST_FREE_BYTES = 64 << 20


@dataclass(frozen=True)
class Service:
    """One process of the platform: its command and its readiness check.

    Parameters
    ----------
    name
        Unique in the platform; names the log file too.
    command, environment
        What to execute; the environment is added to the one of the caller.
    url
        Where it answers, without secrets.
    is_ready
        True once the service answers and is the one that was started here; must not raise.
    identity
        "uid:gid" to run as, "-" for the caller's own.
    grace
        Seconds between the stop signal and SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    url: str
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    identity: str = "-"
    stop_signal: int = signal.SIGTERM
    grace: float = 10.0
    timeout: float = 90.0


@dataclass(frozen=True)
class Running:
    """A started service; the pair (pid, started) never denotes another process, even when the pid is used again."""

    name: str
    pid: int
    started: str
    url: str

    def process(self) -> psutil.Process | None:
        """Find the guard of the service; None when it is gone, or the process is another or none of a platform."""
        with suppress(psutil.Error):
            found = psutil.Process(self.pid)
            if identify_start(self.pid) == self.started and _is_alive(found) and self._is_marked(found):
                return found
        return None

    def _is_marked(self, found: psutil.Process) -> bool:
        """Whether a process is one of a platform; the kernel shows no environment of one that has just begun."""
        return self.pid in _children or MARKER in found.environ()


def identify_start(pid: int) -> str:
    """Identify the start of a process, independent of clock changes and reboots.

    Raises
    ------
    psutil.NoSuchProcess
        There is no such process.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{boot}/{ticks}"
    return repr(psutil.Process(pid).create_time())


def free_port(preferred: int | None = None) -> int:
    """Find a free TCP port on the loopback interface, `preferred` if it is free."""
    for port in (preferred or 0, 0):
        with socket.socket() as listener, suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return int(listener.getsockname()[1])
    raise ServiceUnavailableError("no free TCP port on 127.0.0.1; close some programs and try again")


def start(service: Service, log_file: Path, *, home: Path, owner: int) -> Running:
    """Start a service behind its guard; returns at once.

    Parameters
    ----------
    home
        Written into the environment of every process of the service, so that orphan processes are recognized.
    owner
        pid whose death ends the service; 0 keeps it running until it is stopped.
    """
    settings = (str(owner), str(int(service.stop_signal)), str(service.grace), service.identity)
    command = (sys.executable, "-I", "-S", guard.__file__, *settings, *service.command)
    environment = {**os.environ, **service.environment, MARKER: str(home)}
    with log_file.open("ab") as log:
        guard.put_log_aside(log.fileno())
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=environment, start_new_session=True
        )
    _children[process.pid] = process
    return Running(service.name, process.pid, identify_start(process.pid), service.url)


# Popen objects of this process's own services: polled so that none stays behind as a zombie.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


def is_running(running: Running) -> bool:
    """Return whether the process of a started service is alive (it may not answer yet)."""
    if running.pid in _children and _children[running.pid].poll() is not None:
        return False
    return running.process() is not None


def wait_until_ready(service: Service, running: Running, log_file: Path) -> None:
    """Wait until the service answers.

    Raises
    ------
    ServiceUnavailableError
        It ended, or did not answer in time; the message holds the end of its log.
    """
    deadline = time.monotonic() + service.timeout
    while is_running(running):
        if service.is_ready():
            return
        if time.monotonic() > deadline:
            require_space(log_file.parent)
            raise ServiceUnavailableError(
                f"{service.name} did not answer within {service.timeout:.0f} s; see {log_file}{_tail(log_file)}"
            )
        time.sleep(_POLL_SECONDS)
    require_space(log_file.parent)
    raise ServiceUnavailableError(f"{service.name} ended while starting; see {log_file}{_tail(log_file)}")


def require_space(folder: Path) -> None:
    """Refuse to start services on a full disk, for which each of them would have another message.

    Raises
    ------
    MachineError
        There is less than what PostgreSQL alone writes at its start.
    """
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise MachineError(
            f"the disk is full: {free >> 20} MiB are free at {folder}, the services need {_LEAST_FREE_BYTES >> 20} MiB "
            "to start; free some space or set OTAKU_HOME to another disk"
        )


def keep_running(running: Running) -> None:
    """Let the guard start the service again whenever it ends; for a service that has answered."""
    if (process := running.process()) is not None:
        process.send_signal(signal.SIGUSR1)


def stop(running: Iterable[Running], *, patience: float = 40.0) -> None:
    """Stop services together: each guard ends its service, and is killed if it does not end itself.

    Parameters
    ----------
    patience
        Seconds to wait for the guards; longer than any grace.
    """
    services = list(running)
    guards = [process for service in services if (process := service.process()) is not None]
    _end([*guards, *(child for process in guards for child in _descendants(process))], guards, patience)
    for service in services:
        if child := _children.pop(service.pid, None):
            child.wait()


def stop_orphans(home: Path, *, keep: Iterable[Running] = (), logs: Iterable[Path] = (), patience: float = 40.0) -> int:
    """Stop orphan processes of this home: those whose guard was killed, or which the state no longer lists.

    Parameters
    ----------
    keep
        Services that stay.
    logs
        Logs of services of this home. Who writes its output there is found as well, with its session: a process that
        gave itself another title has overwritten its environment.

    Returns
    -------
    int
        Number of processes stopped.
    """
    known = {process for service in keep if (process := service.process()) is not None}
    known |= {child for process in known for child in _descendants(process)}
    orphans = [process for process in _find_ours(home, logs) if process not in known]
    _end(orphans, orphans, patience)
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]
    return len(orphans)


def _end(processes: list[psutil.Process], terminated: list[psutil.Process], patience: float) -> None:
    """Terminate `terminated`, wait for them, then kill all that still run."""
    for process in terminated:
        with suppress(psutil.Error):
            process.terminate()
    _wait(terminated, patience)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    _wait(processes, patience)


def _wait(processes: list[psutil.Process], patience: float) -> None:
    """Wait until all have ended. A zombie counts as ended: a container may have no init process to reap it."""
    deadline = time.monotonic() + patience
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


def _find_ours(home: Path, logs: Iterable[Path]) -> list[psutil.Process]:
    """Find the processes of this home by marker, log or session; never the caller, who may run inside it."""
    paths = tuple(os.path.realpath(log) for log in logs)
    found: set[psutil.Process] = set()
    sessions: dict[psutil.Process, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            sessions[process] = os.getsid(process.pid)
            if (paths and _writes_to(process.pid, paths)) or process.environ().get(MARKER) == str(home):
                found.add(process)
    # A service is the leader of a session of its own, and what it started stays in it.
    ours = {sessions[process] for process in found if paths and _writes_to(process.pid, paths)} - {os.getsid(0)}
    found |= {process for process, session in sessions.items() if session in ours}
    return [process for process in found if process.pid != os.getpid() and _is_alive(process)]


def _writes_to(pid: int, paths: tuple[str, ...]) -> bool:
    """Whether standard output or error of a process goes to one of some files, or to what was put aside of them."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if str(Path(f"/proc/{pid}/fd/{descriptor}").readlink()).startswith(paths):
                return True
    return False


def _tail(log_file: Path) -> str:
    with suppress(OSError):
        lines = log_file.read_text(errors="replace").strip().splitlines()[-_LOG_TAIL_LINES:]
        return "".join(f"\n    {line}" for line in lines)
    return ""
