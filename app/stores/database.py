"""PostgreSQL as the service uses it: in threads of its own, never longer than a user waits, left alone while down."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError

from recsys.exceptions import ServiceUnavailableError

logger = logging.getLogger(__name__)
WRITE_SECONDS = 5.0
PAUSE_SECONDS = 1.0
MAX_FAILURES = 3
N_THREADS = 8
DEADLOCK = "40P01"
MAX_ATTEMPTS = 3
PAUSES_AFTER_DEADLOCK = 0.02, 0.1

T = TypeVar("T")


class Database:
    """Runs functions on connections, so that a database that hangs holds up nobody but those who need it.

    After three failures in a row everybody is told at once that it is down, but for one request a second that tries
    again: a flood of requests neither piles up here nor falls upon a server that just came back.

    A context manager: it runs functions between entry and exit, and may be entered again.

    Parameters
    ----------
    engine
        The database; its connections are closed on exit.
    read_seconds
        After so long a read is given up.
    clock
        Seconds, for the pause after a failure.
    """

    def __init__(self, engine: Engine, read_seconds: float = 0.9, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._read_seconds = read_seconds
        self._clock = clock
        self._threads: ThreadPoolExecutor | None = None
        self._failures = 0
        self._successes = 0
        self._down_until: float | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = ThreadPoolExecutor(N_THREADS, thread_name_prefix="database")
        self._note_success()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of threads and connections."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None
        self._engine.dispose()

    @property
    def is_down(self) -> bool:
        """Whether the last attempts failed."""
        return self._down_until is not None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that only reads.

        Raises
        ------
        ServiceUnavailableError
            If the database does not answer in time or did not a moment ago.
        """
        return await self._run(lambda: self._on_connection(work), self._read_seconds)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a transaction of its own, again if it ends in a deadlock; see `read`."""
        return await self._run(lambda: self._in_transaction(work), WRITE_SECONDS)

    def _on_connection(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        attempt = 1
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except OperationalError as error:
                # Of transactions that wait for one another PostgreSQL has taken this one back, all of it.
                if getattr(error.orig, "pgcode", None) != DEADLOCK or attempt == MAX_ATTEMPTS:
                    raise
            time.sleep(random.uniform(*PAUSES_AFTER_DEADLOCK))  # noqa: S311 - so that they do not meet again
            attempt += 1

    async def _run(self, work: Callable[[], T], seconds: float) -> T:
        if self._threads is None:
            raise ServiceUnavailableError("nothing is read before the application starts or after it stops")
        if self._down_until is not None:
            if self._clock() < self._down_until:
                raise ServiceUnavailableError("PostgreSQL did not answer a moment ago")
            self._down_until = self._clock() + PAUSE_SECONDS  # this request tries; the others do not wait for it
        successes = self._successes
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self._threads.submit(work)), seconds)
        except TimeoutError:
            self._note_failure(successes)
            raise ServiceUnavailableError(f"PostgreSQL does not answer within {seconds} s") from None
        except (DataError, IntegrityError):  # the database is well, the question was not
            self._note_success()
            raise
        except (SQLAlchemyError, ServiceUnavailableError) as error:
            self._note_failure(successes)
            raise ServiceUnavailableError(f"PostgreSQL does not answer: {error}") from error
        self._note_success()
        return result

    def _note_success(self) -> None:
        self._failures, self._down_until = 0, None
        self._successes += 1

    def _note_failure(self, successes: int) -> None:
        """Count the failure of an attempt that began after so many successes."""
        if successes != self._successes:
            return  # it began in an outage that is over: the database answered a user since
        self._failures += 1
        if self._failures < MAX_FAILURES:
            return
        if self._down_until is None:
            logger.warning("PostgreSQL does not answer; it is tried again once a second")
        self._down_until = self._clock() + PAUSE_SECONDS
