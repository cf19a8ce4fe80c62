"""A worker process as itself and its supervisor know it: what it finds, is told and tells, and when it may restart."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from app.models.inherited import Inheritance, Order
from app.service_factory import WorkerContext

READY: Final = b"1"
RETIRED: Final = b"0"
FIRST_WAIT_SECONDS: Final = 1.0
LAST_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Seat:
    """What a worker process finds: descriptors that lead to its supervisor, and what it inherits.

    Parameters
    ----------
    orders
        Descriptor to read the lines of the supervisor from.
    told
        Descriptor to write `READY` to when connections could be accepted, and `RETIRED` when they no longer are.
    """

    number: int
    directory: Path
    models: Inheritance
    orders: int
    told: int

    def open(self, on_retire: Callable[[], None], on_orphan: Callable[[], None]) -> WorkerContext:
        """Return what the application of the worker is built with."""
        orders = os.fdopen(self.orders, "rb", buffering=0)
        announce = partial(self.tell, READY)
        return WorkerContext(self.number, self.directory, self.models, orders, announce, on_retire, on_orphan)

    def tell(self, sign: bytes) -> None:
        """Tell the supervisor `READY` or `RETIRED`."""
        with suppress(BrokenPipeError):
            os.write(self.told, sign)


@dataclass
class Worker:
    """A worker as its supervisor knows it."""

    number: int
    pid: int
    orders: int
    told: int
    started_at: float
    retired_at: float | None = None

    def send(self, order: Order) -> None:
        """Give an order, unless nobody reads it."""
        # A worker that reads nothing any more has other troubles, and must not stop the supervisor.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self.orders, order.encode())

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        """Close both pipes; a worker whose orders end, ends."""
        os.close(self.orders)
        os.close(self.told)


@dataclass
class Restart:
    """When a worker that ended may be replaced: at once, but after ever longer waits if it ends again and again."""

    n_ends: int = 0
    at: float = 0.0

    def note_end(self, lived: float, now: float) -> None:
        """Put the next start off, after a worker that lived for so many seconds."""
        self.n_ends = 1 if lived > LAST_WAIT_SECONDS else self.n_ends + 1
        wait = FIRST_WAIT_SECONDS * 2 ** (self.n_ends - 2) if self.n_ends > 1 else 0.0
        self.at = now + min(wait, LAST_WAIT_SECONDS)
