"""Work for the processor, off the event loop: a few threads, a queue of bounded length, and a polite no beyond it."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from recsys.exceptions import RecsysError

_MOST_THREADS = 8

T = TypeVar("T")


class OverloadedError(RecsysError):
    """More work is waiting than can be done in time."""


class Workers:
    """Threads that compute answers.

    Whoever finds the queue full, or waited in it too long, is turned away at once: the answer would come too late
    anyway, and everybody behind would wait for it.

    Parameters
    ----------
    n_threads
        By default one per core, eight at most.
    max_waiting
        How many may wait or be computed at the same time.
    wait_seconds
        After so long in the queue nothing is computed any more.
    """

    def __init__(self, n_threads: int | None = None, max_waiting: int = 64, wait_seconds: float = 2.0) -> None:
        self._n_threads = n_threads or min(os.cpu_count() or 1, _MOST_THREADS)
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = ThreadPoolExecutor(self._n_threads, thread_name_prefix="work")
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what is being computed."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._threads = None

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in one of the threads.

        Raises
        ------
        OverloadedError
            If too many wait already, or the turn does not come in time.
        """
        if self._threads is None or self._waiting >= self._max_waiting:
            raise OverloadedError("too many requests are waiting")
        self._waiting += 1
        try:
            job = self._threads.submit(work)
            answer = asyncio.wrap_future(job)
            await asyncio.wait({answer}, timeout=self._wait_seconds)
            # Only what has not begun can be cancelled.
            if not answer.done() and job.cancel():
                raise OverloadedError("the turn of this request came too late")
            return await answer
        finally:
            self._waiting -= 1
