"""PostgreSQL for request handlers: a thread pool, timeouts shorter than a client's patience, a circuit breaker."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random

from app.circuit_breaker import CircuitBreaker
from recsys.exceptions import ServiceUnavailableError

logger = logging.getLogger(__name__)
WRITE_SECONDS = 5.0
ACT_SECONDS = 15.0
PAUSE_SECONDS = 1.0
MAX_FAILURES = 3
N_THREADS = 8
DEADLOCK = "40P01"
CANCELLED = "57014"  # by statement_timeout
_NOTHING = select(1)
MAX_ATTEMPTS = 3
PAUSES_AFTER_DEADLOCK = 0.02, 0.1

T = TypeVar("T")


def _is_deadlock(error: BaseException) -> bool:
    """Whether PostgreSQL has rolled a transaction back to resolve a deadlock, so that it may run again."""
    return isinstance(error, OperationalError) and getattr(error.orig, "pgcode", None) == DEADLOCK


def _was_cancelled(error: BaseException) -> bool:
    """Whether PostgreSQL has ended a statement that took too long."""
    return isinstance(error, OperationalError) and getattr(error.orig, "pgcode", None) == CANCELLED


class Database:
    """Runs functions on connections in threads of its own, so that a hanging database delays no other request.

    After three failures in a row requests fail at once, but for one trial a second: they neither pile up here nor
    flood a server that has just come back. A statement that takes too long is no failure of the database: only if it
    does not answer the simplest question either, it is taken for down.

    A context manager: functions run between entry and exit; it may be entered again.

    Parameters
    ----------
    engine
        The database; its connections are closed on exit.
    read_seconds
        Timeout of a read.
    clock
        Monotonic seconds of the circuit breaker.
    """

    def __init__(self, engine: Engine, read_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._read_seconds = read_seconds
        self._breaker = CircuitBreaker(MAX_FAILURES, PAUSE_SECONDS, clock)
        self._threads: ThreadPoolExecutor | None = None
        self._pings: ThreadPoolExecutor | None = None
        self._ping: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = ThreadPoolExecutor(N_THREADS, thread_name_prefix="database")
        # Of its own, so that slow statements in all the others do not look like an outage.
        self._pings = ThreadPoolExecutor(1, thread_name_prefix="database-ping")
        self._breaker.record_success()
        return self

    def __exit__(self, *_: object) -> None:
        """Close threads and connections."""
        for threads in (self._threads, self._pings):
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)
        self._threads = self._pings = None
        self._engine.dispose()

    @property
    def is_down(self) -> bool:
        """Whether the last attempts failed."""
        return self._breaker.is_open

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that only reads.

        Raises
        ------
        ServiceUnavailableError
            If the database does not answer in time or did not a moment ago.
        """
        return await self._run(lambda: self._on_connection(work), self._read_seconds)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a transaction of its own, again after a deadlock; see `read`."""
        return await self._run(lambda: self._in_transaction(work), WRITE_SECONDS)

    async def act(self, work: Callable[[Engine], T]) -> T:
        """Run a function that opens its own transactions and may call other services meanwhile; see `read`."""
        return await self._run(lambda: work(self._engine), ACT_SECONDS)

    def _on_connection(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    @retry(
        retry=retry_if_exception(_is_deadlock),
        stop=stop_after_attempt(MAX_ATTEMPTS),
        wait=wait_random(*PAUSES_AFTER_DEADLOCK),
        reraise=True,
    )
    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    async def _run(self, work: Callable[[], T], seconds: float) -> T:
        if self._threads is None:
            raise ServiceUnavailableError("the application has not started or has stopped")
        if not self._breaker.allow():
            raise ServiceUnavailableError("PostgreSQL did not answer a moment ago")
        token = self._breaker.begin()
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self._threads.submit(work)), seconds)
        except TimeoutError:
            self._ask_whether_down(token)
            raise ServiceUnavailableError(f"PostgreSQL does not answer within {seconds} s") from None
        except (DataError, IntegrityError):  # the statement failed, the database answered
            self._breaker.record_success()
            raise
        except (SQLAlchemyError, ServiceUnavailableError) as error:
            if _was_cancelled(error):  # it took too long, which the database itself has noticed
                self._breaker.record_success()
            else:
                self._record_failure(token)
            raise ServiceUnavailableError(f"PostgreSQL does not answer: {error}") from error
        self._breaker.record_success()
        return result

    def _ask_whether_down(self, token: int) -> None:
        """Find out after a timeout whether the database is down or only the statement slow; nobody waits for it."""
        if self._pings is not None and (self._ping is None or self._ping.done()):
            asked = self._pings.submit(self._on_connection, lambda connection: connection.execute(_NOTHING))
            self._ping = asyncio.create_task(self._take_for_down_unless(asked, token))

    async def _take_for_down_unless(self, asked: "Future[object]", token: int) -> None:
        try:
            await asyncio.wait_for(asyncio.wrap_future(asked), self._read_seconds)
        except (TimeoutError, SQLAlchemyError, asyncio.CancelledError):
            for _ in range(MAX_FAILURES):
                self._record_failure(token)
        else:
            self._breaker.record_success()

    def _record_failure(self, token: int) -> None:
        if self._breaker.record_failure(token):
            logger.warning("PostgreSQL does not answer; one request a second tries it again")
