"""PostgreSQL for request handlers: a thread pool, timeouts shorter than a client's patience, a circuit breaker."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
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
MAX_ATTEMPTS = 3
PAUSES_AFTER_DEADLOCK = 0.02, 0.1

T = TypeVar("T")


def _is_deadlock(error: BaseException) -> bool:
    """Whether PostgreSQL has rolled a transaction back to resolve a deadlock, so that it may run again."""
    return isinstance(error, OperationalError) and getattr(error.orig, "pgcode", None) == DEADLOCK


class Database:
    """Runs functions on connections in threads of its own, so that a hanging database delays no other request.

    After three failures in a row requests fail at once, but for one trial a second: they neither pile up here nor
    flood a server that has just come back.

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

    def __init__(self, engine: Engine, read_seconds: float = 0.9, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._read_seconds = read_seconds
        self._breaker = CircuitBreaker(MAX_FAILURES, PAUSE_SECONDS, clock)
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = ThreadPoolExecutor(N_THREADS, thread_name_prefix="database")
        self._breaker.record_success()
        return self

    def __exit__(self, *_: object) -> None:
        """Close threads and connections."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None
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
            self._record_failure(token)
            raise ServiceUnavailableError(f"PostgreSQL does not answer within {seconds} s") from None
        except (DataError, IntegrityError):  # the statement failed, the database answered
            self._breaker.record_success()
            raise
        except (SQLAlchemyError, ServiceUnavailableError) as error:
            self._record_failure(token)
            raise ServiceUnavailableError(f"PostgreSQL does not answer: {error}") from error
        self._breaker.record_success()
        return result

    def _record_failure(self, token: int) -> None:
        if self._breaker.record_failure(token):
            logger.warning("PostgreSQL does not answer; one request a second tries it again")
