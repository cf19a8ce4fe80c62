"""Several processes that share one model: the supervisor loads versions and forks the workers that serve them.

A worker that is forked after a version was loaded shares its memory, page by page, until one of them writes to it. The
supervisor serves nothing and runs no thread, since a fork copies the calling thread alone. When another version is
promoted it loads and verifies it, forks workers that have it, and once these could serve lets the old ones retire: each
response comes from one version, and no connection is cut.

Every worker has a listening socket of its own on the same port (`SO_REUSEPORT`), among which the kernel distributes
connections. The supervisor keeps all of them open, so that connections wait while a worker is replaced.
"""

import gc
import logging
import os
import select
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from app.metrics import ServiceMetrics
from app.models.authority import ModelSource
from app.models.inherited import Inheritance, Order, Versions
from app.service_factory import build_challenger, build_production, open_service_engine
from app.worker_processes import LAST_WAIT_SECONDS, READY, RETIRED, Restart, Seat, Worker
from recsys.connections import open_registry
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings

logger = logging.getLogger(__name__)
START_SECONDS: Final = 60.0
RELIEF_SECONDS: Final = 2.0
RETIRE_SECONDS: Final = 60.0
BACKLOG: Final = 2_048  # connections, as of uvicorn
STOP_SECONDS: Final = 30.0

# Serves on sockets until SIGTERM.
RunWorker = Callable[[Sequence[socket.socket], Seat], None]


class _StopError(BaseException):
    """SIGTERM or Ctrl-C while a version is loaded."""


class _Tally(ServiceMetrics):
    """Counts what the workers are to count: the supervisor itself is not scraped."""

    def __init__(self) -> None:
        super().__init__()
        self.polled: bool | None = None
        self.n_refused = 0

    def count_refresh(self, *, succeeded: bool) -> None:
        """Note whether the registry answered."""
        self.polled = succeeded

    def count_refusal(self) -> None:
        """Count a refused version."""
        self.n_refused += 1

    def take(self) -> tuple[bool | None, int]:
        """Return what was counted since the last time."""
        found = self.polled, self.n_refused
        self.polled, self.n_refused = None, 0
        return found


class Supervisor:
    """Loads versions, forks workers, and replaces those that end or whose version is no longer in Production.

    Parameters
    ----------
    settings
        `workers` of it are forked.
    sockets
        Sockets of each worker, see `bind_sockets`.
    run_worker
        What a worker does; its process ends with it.
    source
        Where models come from; the registry of the settings by default.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[Sequence[socket.socket]],
        run_worker: RunWorker,
        source: ModelSource | None = None,
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._run_worker = run_worker
        self._tally = _Tally()
        self._ledger = None
        if source is None and settings.promotions == "ledger":
            self._ledger = open_service_engine(settings, pool_size=1)
        source = source or open_registry(settings)
        self._production = build_production(settings, source, self._tally, self._ledger)
        self._challenger = build_challenger(settings, source, self._tally)
        self._models = Inheritance()
        self._workers: dict[int, Worker] = {}  # by number
        self._fresh: list[Worker] = []  # not yet in their place
        self._retired: list[Worker] = []
        self._restarts: dict[int, Restart] = {}  # by number
        self._failed: Versions | None = None  # versions with which no workers could be started
        self._failed_until = 0.0
        self._is_loading = False
        self._stops = False
        self._directory = Path()

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C, then let the workers drain.

        Raises
        ------
        ServiceUnavailableError
            If the first workers do not start.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="otaku-workers-"))
        with _handle_signals(self._stop) as signals:
            try:
                while not self._stops:
                    self._poll()
                    self._renew(signals)
                    self._tell()
                    _wait_for_signal(signals, 0.0 if self._stops else self._settings.watch_seconds)
            except _StopError:
                pass
            finally:
                self._end_workers()
                self._production.close()
                shutil.rmtree(self._directory, ignore_errors=True)

    def _stop(self) -> None:
        self._stops = True
        if self._is_loading:
            self._is_loading = False
            raise _StopError

    def _poll(self) -> None:
        """Load what is promoted, unless it is loaded."""
        self._is_loading = True
        try:
            self._production.refresh()
            served = self._production.served
            self._challenger.refresh(served.version if served else None)
        except Exception:  # the workers go on with what they have
            logger.exception("polling the registry failed; the next poll follows")
        finally:
            self._is_loading = False

    def _renew(self, signals: socket.socket) -> None:
        """Start workers for versions that were loaded, and for workers that ended."""
        self._reap()
        found = Inheritance(self._production.served, self._production.previous, self._challenger.model)
        now = time.monotonic()
        if found.versions == self._models.versions and self._workers_were_started:
            self._failed = None
        elif found.versions != self._failed or now >= self._failed_until:
            self._replace_all(found, signals)
        for number in range(len(self._sockets)):
            if number not in self._workers and now >= self._restarts.get(number, Restart()).at and not self._stops:
                self._workers[number] = self._fork(number, self._models)
                self._workers[number].send(Order(start=True))

    @property
    def _workers_were_started(self) -> bool:
        return bool(self._workers or self._restarts)

    def _replace_all(self, models: Inheritance, signals: socket.socket) -> None:
        """Start workers with other versions, and let the present ones retire when those could serve."""
        _freeze_memory()
        for number in range(len(self._sockets)):
            self._fresh.append(self._fork(number, models))
        if not self._await_sign(READY, self._fresh, signals, START_SECONDS):
            self._give_up(models)
            return
        for worker in self._workers.values():
            worker.retired_at = time.monotonic()
            worker.send(Order(retire=True))
        # None accepts connections for a moment, in which they wait: who was served by a new worker gets no old one.
        self._await_sign(RETIRED, [*self._workers.values()], signals, RELIEF_SECONDS)
        for worker in self._fresh:
            worker.send(Order(start=True))
        self._retired += self._workers.values()
        if not self._workers_were_started:
            # From now on connections wait instead of being refused.
            for one in (one for sockets in self._sockets for one in sockets):
                one.listen(BACKLOG)
            host, port = self._sockets[0][0].getsockname()[:2]
            logger.info("running on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        self._workers, self._models, self._failed = {worker.number: worker for worker in self._fresh}, models, None
        self._fresh = []
        self._restarts.clear()
        logger.info("%d workers serve version %s", len(self._workers), models.versions[0])

    def _give_up(self, models: Inheritance) -> None:
        """End workers that did not start; the present ones go on, if there are any."""
        for worker in self._fresh:
            worker.signal(signal.SIGTERM if self._stops else signal.SIGKILL)
        self._retired += self._fresh
        self._fresh = []
        if self._stops:
            return
        if not self._workers_were_started:
            raise ServiceUnavailableError("the workers of the service do not start; the log says why")
        logger.error("no workers with version %s could be started; the present ones go on", models.versions[0])
        self._failed, self._failed_until = models.versions, time.monotonic() + LAST_WAIT_SECONDS

    def _await_sign(self, sign: bytes, workers: Sequence[Worker], signals: socket.socket, seconds: float) -> bool:
        """Wait until each has told a sign; False if one ends before, it takes too long, or the service is to stop."""
        deadline = time.monotonic() + seconds
        waiting = [worker.told for worker in workers]
        while waiting and not self._stops:
            readable, _, _ = select.select([*waiting, signals.fileno()], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return False
            for descriptor in readable:
                if descriptor == signals.fileno():
                    _wait_for_signal(signals, 0.0)
                    continue
                # One that replaced another was ready long before it retires, and nobody has read so.
                told = os.read(descriptor, 1)
                if told == sign:
                    waiting.remove(descriptor)
                elif not told:
                    return False
        return not waiting

    def _fork(self, number: int, models: Inheritance) -> Worker:
        orders, orders_end = os.pipe()
        told, told_end = os.pipe()
        os.set_blocking(orders_end, False)
        # A connection that two processes used would carry the words of both.
        if self._ledger is not None:
            self._ledger.dispose()
        if threading.active_count() > 1:
            logger.warning("a worker is forked while other threads run: %s", threading.enumerate())
        pid = os.fork()
        if pid == 0:
            for descriptor in (orders_end, told):
                os.close(descriptor)
            self._become_worker(Seat(number, self._directory, models, orders, told_end))
        for descriptor in (orders, told_end):
            os.close(descriptor)
        return Worker(number, pid, orders_end, told, time.monotonic())

    def _become_worker(self, seat: Seat) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(name, signal.SIG_DFL)
            # As long as another worker could write to it, a pipe would not end with the supervisor.
            for worker in self._list_workers():
                worker.close()
            for number, sockets in enumerate(self._sockets):
                for one in sockets if number != seat.number else ():
                    one.close()
            self._run_worker(self._sockets[seat.number], seat)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            logger.exception("worker %d ends", seat.number)
        finally:
            logging.shutdown()
            # What the supervisor does at its own end is not the worker's to do.
            os._exit(code)

    def _list_workers(self) -> list[Worker]:
        return [*self._workers.values(), *self._fresh, *self._retired]

    def _reap(self) -> None:
        """Note which workers have ended, and end those that retired and stay."""
        now = time.monotonic()
        for worker in [*self._workers.values(), *self._retired]:
            ended, status = os.waitpid(worker.pid, os.WNOHANG)
            if ended and worker in self._retired:
                self._retired.remove(worker)
            elif ended:
                del self._workers[worker.number]
                self._restarts.setdefault(worker.number, Restart()).note_end(now - worker.started_at, now)
                logger.error("worker %d ended: %s", worker.number, _describe_end(status))
            elif worker.retired_at is not None and now > worker.retired_at + RETIRE_SECONDS:
                worker.signal(signal.SIGTERM if now < worker.retired_at + 2 * RETIRE_SECONDS else signal.SIGKILL)
            if ended:
                worker.close()

    def _tell(self) -> None:
        """Tell the workers what the last poll found, and what they are to count."""
        polled, n_refused = self._tally.take()
        problems = list(self._production.problems)
        if self._failed is not None:
            problems.append(f"no workers with version {self._failed[0]} could be started")
        n_missing = len(self._sockets) - len(self._workers)
        if n_missing:
            problems.append(f"{n_missing} of {len(self._sockets)} workers are missing")
        for worker in self._workers.values():
            worker.send(Order(tuple(problems), polled, n_refused))

    def _end_workers(self) -> None:
        """Let all drain and end; kill those that do not in time."""
        left = self._list_workers()
        for worker in left:
            worker.signal(signal.SIGTERM)
            worker.close()  # one that waits for an order, waits no longer
        deadline = time.monotonic() + STOP_SECONDS
        while left:
            left = [worker for worker in left if not os.waitpid(worker.pid, os.WNOHANG)[0]]
            for worker in left if time.monotonic() > deadline else ():
                worker.signal(signal.SIGKILL)
            time.sleep(0.05 if left else 0.0)


def _describe_end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"{signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _wait_for_signal(signals: socket.socket, seconds: float) -> None:
    """Sleep, unless there is a signal."""
    if select.select([signals], [], [], seconds)[0]:
        with suppress(BlockingIOError):
            signals.recv(4096)


@contextmanager
def _handle_signals(stop: Callable[[], None]) -> Iterator[socket.socket]:
    """Call `stop` on SIGTERM and Ctrl-C; yield a socket that is readable after any signal, a worker's end included."""
    inside, outside = socket.socketpair()
    inside.setblocking(False)
    outside.setblocking(False)

    before = {name: signal.signal(name, lambda *_: stop()) for name in (signal.SIGTERM, signal.SIGINT)}
    # Not ignored, or nobody would be woken by it.
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup = signal.set_wakeup_fd(outside.fileno(), warn_on_full_buffer=False)
    try:
        yield inside
    finally:
        signal.set_wakeup_fd(wakeup)
        for name, handler in before.items():
            signal.signal(name, handler)
        inside.close()
        outside.close()


def _freeze_memory() -> None:
    """Keep the garbage collector away from what is shared: it writes to every object that it visits."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
