"""Programs as processes of their own, without the seconds of imports: forks of one process that has imported it all.

`python -m tests.fork_server DESCRIPTOR` is that process. It starts no thread, since a fork copies the calling thread
alone. Each request over the socket of the descriptor is `{"arguments", "environment", "directory"}` in JSON, with the
descriptors of stdin, stdout, stderr and of a pipe, which is told the id of the fork and, later, its return code. A fork
does what `python ARGUMENTS` does, with `-m MODULE`, `-c CODE` or a script in front.
"""

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).parents[1]
MAX_REQUEST = 1 << 20


class Program:
    """A Python program in a fork, to be used as a `subprocess.Popen`.

    Parameters
    ----------
    arguments
        What would follow `python`, with `-m`, `-c` or a script in front.
    stdin, stdout, stderr
        Descriptors or files, `subprocess.PIPE` for the last two, or None for /dev/null and the ones of the tests.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._lock = threading.Lock()
        given: list[int] = []
        with contextlib.ExitStack() as stack:
            null = os.open(os.devnull, os.O_RDWR)
            stack.callback(os.close, null)

            def open_stream(stream: int | IO[Any] | None, default: int) -> IO[str] | None:
                """Note what the fork gets, and return what can be read of it."""
                if stream == subprocess.PIPE:
                    inside, outside = os.pipe()
                    stack.callback(os.close, outside)
                    given.append(outside)
                    return os.fdopen(inside, encoding="utf-8")
                number = default if stream is None else null if stream == subprocess.DEVNULL else stream
                given.append(number if isinstance(number, int) else number.fileno())
                return None

            open_stream(stdin, null)
            self.stdout = open_stream(stdout, 1)
            self.stderr = open_stream(stderr, 2)
            told, tell = os.pipe()
            stack.callback(os.close, tell)
            self._told = os.fdopen(told, "rb", buffering=0)
            request = {
                "arguments": [str(argument) for argument in arguments],
                "environment": dict(os.environ if env is None else env),
                "directory": str(cwd or Path.cwd()),
            }
            _open_server().send(json.dumps(request).encode(), [*given, tell])
        self.pid = self._read_told()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def _read_told(self) -> int:
        line = self._told.readline()
        assert line, "the fork server has ended"
        return int(line)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code, or the negative number of the signal.

        Raises
        ------
        subprocess.TimeoutExpired
            If it has not ended after the timeout.
        """
        with self._lock:
            if self.returncode is None:
                if not select.select([self._told], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
                self.returncode = self._read_told()
                self._told.close()
            return self.returncode

    def poll(self) -> int | None:
        """Return the code of `wait`, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """Read stdout and stderr to their ends, and wait for the program's."""
        texts = {"stdout": "", "stderr": ""}

        def read(name: str) -> None:
            stream = getattr(self, name)
            if stream is not None:
                with stream:
                    texts[name] = stream.read()

        reader = threading.Thread(target=read, args=("stderr",))
        reader.start()
        read("stdout")
        reader.join()
        self.wait()
        return texts["stdout"], texts["stderr"]


def run_program(
    arguments: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: str | Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` to its end as a fork, and return its exit code and what it wrote."""
    program = Program(arguments, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = program.communicate()
    return subprocess.CompletedProcess([str(argument) for argument in arguments], program.wait(), stdout, stderr)


class _Server:
    """The fork server of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
            )

    def send(self, request: bytes, descriptors: Sequence[int]) -> None:
        assert len(request) < MAX_REQUEST
        with self._lock:
            socket.send_fds(self._requests, [request], descriptors)

    def stop(self) -> None:
        self._requests.close()
        self._process.wait()


@cache
def _open_server() -> _Server:
    return _Server()


def stop_server() -> None:
    """Stop the fork server of this process, if there is one."""
    if _open_server.cache_info().currsize:
        _open_server().stop()
        _open_server.cache_clear()


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request until there are no more, then exit; return a request in the fork that is for it."""
    woken, wakeup = socket.socketpair()
    for one in (woken, wakeup):
        one.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup.fileno())
    running: dict[int, int] = {}
    while True:
        readable = select.select([requests, woken], [], [])[0]
        if woken in readable:
            woken.recv(4096)
            _reap(running)
        if requests in readable:
            message, streams, _, _ = socket.recv_fds(requests, MAX_REQUEST, 4)
            if not message:
                sys.exit()
            tell = streams.pop()
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for one in (requests, woken, wakeup):
                    one.close()
                _take_streams(streams, {*running.values(), tell})
                request: dict[str, Any] = json.loads(message)
                return request
            for stream in streams:
                os.close(stream)
            running[pid] = tell
            _tell(tell, pid)


def _reap(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _tell(running[pid], os.waitstatus_to_exitcode(status))
            os.close(running.pop(pid))


def _take_streams(streams: Sequence[int], others: set[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for descriptor in {*streams, *others}:
        os.close(descriptor)


def _tell(descriptor: int, number: int) -> None:
    # Whoever started a program need not wait for its end.
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, f"{number}\n".encode())


def become(request: dict[str, Any]) -> int:
    """Be the program of a request; return its exit code."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    kind, *rest = request["arguments"]
    try:
        if kind == "-m":
            sys.argv, sys.path[0] = rest, request["directory"]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(rest[0], "<string>", "exec"), vars(main))  # noqa: S102 - as `python -c` does
        else:
            sys.argv, sys.path[0] = [kind, *rest], str(Path(kind).parent)
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """End as an interpreter does, but for the destruction of all modules, which takes as long as many a program."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        from tests.warm_imports import import_heavy_modules

        import_heavy_modules()
        names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        # The allocator of pyarrow starts its own again in a fork.
        assert len(names) - names.count("jemalloc_bg_thd") == 1, names
        order = serve(given)
    end(become(order))
