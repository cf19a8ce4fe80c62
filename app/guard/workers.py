"""CPU work off the event loop: a thread pool with a bounded queue that sheds load."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from recsys.cpus import count_cpus
from recsys.exceptions import RecsysError

_MOST_THREADS = 8

T = TypeVar("T")


class OverloadedError(RecsysError):
    """The queue is full, or waiting took too long."""


class Workers:
    """A thread pool that computes recommendations.

    A request that finds the queue full, or has waited too long, fails at once: its response would be too late and
    would delay all requests behind it.

    Parameters
    ----------
    n_threads
        By default one per processor that this process may use, at most eight.
    max_waiting
        Requests that wait or run at the same time.
    wait_seconds
        Longest time in the queue.
    name
        Of the threads.
    on_rejected
        Called for each request that is turned away.
    """

    def __init__(
        self,
        n_threads: int | None = None,
        max_waiting: int = 64,
        wait_seconds: float = 2.0,
        *,
        name: str = "work",
        on_rejected: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._on_rejected = on_rejected
        self._n_threads = n_threads or min(count_cpus(), _MOST_THREADS)
        self.max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = ThreadPoolExecutor(self._n_threads, thread_name_prefix=self._name)
        return self

    def __exit__(self, *_: object) -> None:
        """Finish running work."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._threads = None

    @property
    def n_waiting(self) -> int:
        """Requests that wait or run."""
        return self._waiting

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in one of the threads.

        Raises
        ------
        OverloadedError
            If the queue is full, or the wait is too long.
        """
        if self._threads is None or self._waiting >= self.max_waiting:
            self._on_rejected()
            raise OverloadedError("too many requests are waiting")
        self._waiting += 1
        try:
            job = self._threads.submit(work)
            future = asyncio.wrap_future(job)
            await asyncio.wait({future}, timeout=self._wait_seconds)
            # Only work that has not started can be cancelled.
            if not future.done() and job.cancel():
                self._on_rejected()
                raise OverloadedError("the request waited too long")
            return await future
        finally:
            self._waiting -= 1
