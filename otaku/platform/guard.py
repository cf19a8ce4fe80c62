"""Supervise one service: it ends, with every process it started, on a signal or with its parent.

Run as a script with nothing but the standard library: `python guard.py OWNER SIGNAL GRACE UID:GID|- COMMAND...`.
OWNER is the pid whose death ends the service, 0 for none. The guard adopts orphans, so a grandchild that left its
process group is found as well; a guard that is killed itself takes the service with it.

A service that ends while it starts ends the guard with its exit code. Once the guard received SIGUSR1 the service has
answered: from then on it is started again whenever it ends, after growing pauses. A log that grows too long meanwhile
is copied aside and truncated.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path

POLL_SECONDS = 0.25
STEADY_SECONDS = 60.0  # who ran so long is started again without a long pause
LONGEST_PAUSE = 30.0
LOG_BYTES = 10_000_000
_LOG_EVERY = 10.0
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER, _PR_CAP_AMBIENT = 1, 8, 36, 47
_CAPABILITY_VERSION_3 = 0x20080522
# Reading past directory permissions, the weaker capability first; containers often grant the second only.
_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE = 2, 1


def _prctl(option: int, *arguments: int) -> bool:
    """Call prctl where the system has it; False where it has not."""
    with contextlib.suppress(AttributeError, OSError):
        return bool(
            ctypes.CDLL(None).prctl(option, *(ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0)[:4])) == 0
        )
    return False


def _keep_capability(capability: int) -> bool:
    """Keep one capability across exec; the process must still have it permitted."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    return ctypes.CDLL(None).capset(header, sets) == 0 and _prctl(_PR_CAP_AMBIENT, 2, capability)


def become(user: int, group: int) -> None:
    """Give up root, keeping only the right to pass through directories of the user who started the platform.

    PostgreSQL refuses to run as root, yet its data may lie under a directory that only root can enter.
    """
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if not _keep_capability(_CAP_DAC_READ_SEARCH):
        _keep_capability(_CAP_DAC_OVERRIDE)


def _run(command: Sequence[str], identity: str, stop_signal: int) -> int:
    """Fork and execute the service as leader of its own session; return its pid."""
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if identity != "-":
            user, group = identity.split(":")
            become(int(user), int(group))
        _prctl(_PR_SET_PDEATHSIG, stop_signal)  # after the change of user, which would clear it
        if os.getppid() != guard:
            os._exit(1)
        os.execvp(command[0], list(command))  # noqa: S606 - the command is ours and no shell is wanted
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _children() -> list[int]:
    """List the pids whose parent is this process, adopted orphans included."""
    me = os.getpid()
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == me:
                found.append(int(entry.parent.name))
    return found


def _reap() -> dict[int, int]:
    """Collect the children that ended; return pid to exit code."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def _stop(service: int, stop_signal: int, grace: float) -> None:
    """Ask the service to stop and wait up to `grace` seconds for it."""
    os.kill(service, stop_signal)  # not reaped yet, so the pid is still its own
    deadline = time.monotonic() + grace
    while service not in _reap() and time.monotonic() < deadline:
        signal.sigtimedwait({signal.SIGCHLD}, POLL_SECONDS)


def _sweep(service: int) -> None:
    """Kill the service if it still runs, and its orphan processes."""
    if service:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(service, signal.SIGKILL)
    while left := _children():  # the children of a killed process are adopted
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        _reap()


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when its parent ends; for the child of a fork, before it executes."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def put_log_aside(descriptor: int, max_bytes: int = LOG_BYTES) -> bool:
    """Copy a log that is too long to `NAME.1` and truncate it; those who append to it write on at its new end."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size <= max_bytes:
        return False
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    with contextlib.suppress(OSError):  # a full disk must not keep the log from being truncated
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


class _Supervision:
    """The service now: its pid, 0 between its end and its next start."""

    def __init__(self, command: Sequence[str], identity: str, stop_signal: int) -> None:
        self._arguments = (command, identity, stop_signal)
        self.restarts = False
        self._pause = self._due = 0.0
        self._start()

    def _start(self) -> None:
        self.pid, self._started = _run(*self._arguments), time.monotonic()

    def look_after(self, ended: dict[int, int]) -> int | None:
        """Sweep and restart a service that ended; return its exit code if it shall not be started again."""
        now = time.monotonic()
        if self.pid in ended:
            code = ended[self.pid]
            _sweep(self.pid)
            if not self.restarts:
                return code & 0xFF
            steady = now - self._started > STEADY_SECONDS
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if self._pause and not steady else 1.0
            name = Path(self._arguments[0][0]).name
            os.write(2, f"otaku: {name} ended with {code}; it is started again in {self._pause:.0f} s\n".encode())
            self.pid, self._due = 0, now + self._pause
        elif not self.pid and now >= self._due:
            self._start()
        return None


def main(arguments: Sequence[str]) -> int:
    """Supervise one service until it ends, is signalled, or its owner is gone; return its exit code."""
    owner, stop_signal, grace, identity, *command = arguments
    watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    service = _Supervision(command, identity, int(stop_signal))
    looked_at_log = time.monotonic()
    while int(owner) in (0, os.getppid()):
        received = signal.sigtimedwait(watched, POLL_SECONDS)
        number = received.si_signo if received is not None else 0
        service.restarts = service.restarts or number == signal.SIGUSR1
        if (code := service.look_after(_reap())) is not None:
            return code
        if number not in (0, signal.SIGCHLD, signal.SIGUSR1):
            break
        if time.monotonic() - looked_at_log > _LOG_EVERY:
            put_log_aside(2)
            looked_at_log = time.monotonic()
    if service.pid:
        _stop(service.pid, int(stop_signal), float(grace))
    _sweep(service.pid)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
