"""Supervise one service: it ends, with every process it started, on a signal or with its parent.

Run as a script with nothing but the standard library: `python guard.py OWNER SIGNAL GRACE UID:GID|- COMMAND...`.
OWNER is the pid whose death ends the service, 0 for none. The guard adopts orphans, so a grandchild that left its
process group is found as well; a guard that is killed itself takes the service with it.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

POLL_SECONDS = 0.25
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
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(service, signal.SIGKILL)
    while left := _children():  # the children of a killed process are adopted
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        _reap()


def main(arguments: Sequence[str]) -> int:
    """Supervise one service until it ends, is signalled, or its owner is gone; return its exit code."""
    owner, stop_signal, grace, identity, *command = arguments
    watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    service = _run(command, identity, int(stop_signal))
    while int(owner) in (0, os.getppid()):
        received = signal.sigtimedwait(watched, POLL_SECONDS)
        ended = _reap()
        if service in ended:
            _sweep(service)
            return ended[service] & 0xFF
        if received is not None and received.si_signo != signal.SIGCHLD:
            break
    _stop(service, int(stop_signal), float(grace))
    _sweep(service)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
