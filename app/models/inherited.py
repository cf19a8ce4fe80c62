"""What a worker process serves: versions that its supervisor loaded before it forked the worker."""

import json
import logging
import select
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import BinaryIO, Final

from app.metrics import ServiceMetrics
from app.models.holder import ModelHolder, Then
from app.models.serving import ServingModel

logger = logging.getLogger(__name__)
# Between two looks at whether the worker is to stop.
_LOOK_SECONDS: Final = 0.5

Versions = tuple[int | None, int | None]


@dataclass(frozen=True)
class Inheritance:
    """Versions in the memory of a process when it forks a worker."""

    production: ServingModel | None = None
    previous: ServingModel | None = None
    challenger: ServingModel | None = None

    @property
    def versions(self) -> Versions:
        """Production's version and the challenger's: other ones need other workers."""
        production, challenger = self.production, self.challenger
        return production.version if production else None, challenger.version if challenger else None


@dataclass(frozen=True)
class Order:
    """A line from the supervisor to a worker: what its last poll of the registry found, and what to do.

    Parameters
    ----------
    problems
        Why the supervisor does not follow the registry.
    polled
        Whether the registry answered; None if it was not asked.
    n_refused
        Versions that were refused since the last line.
    start
        Accept connections.
    retire
        Other workers serve from now on: accept no connection, and end when those that are open are closed.
    """

    problems: tuple[str, ...] = ()
    polled: bool | None = None
    n_refused: int = 0
    start: bool = False
    retire: bool = False

    def encode(self) -> bytes:
        """Return the line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Order":
        """Read a line."""
        told = json.loads(line)
        return cls(**{**told, "problems": tuple(told["problems"])})


class InheritedModel(ModelHolder):
    """The versions that a worker was forked with; other ones come with other workers.

    Parameters
    ----------
    orders
        The lines of the supervisor, see `Order`; they end with it.
    prepare
        Called with the served model before the worker does anything else with it.
    announce
        Called once, when nothing but the order to start is waited for.
    on_retire
        Called once, when other workers take over.
    on_orphan
        Called when the supervisor has ended.
    """

    def __init__(
        self,
        models: Inheritance,
        orders: BinaryIO,
        metrics: ServiceMetrics,
        prepare: Callable[[ServingModel], object] = lambda _model: None,
        *,
        announce: Callable[[], None],
        on_retire: Callable[[], None],
        on_orphan: Callable[[], None],
    ) -> None:
        super().__init__(models.production, models.previous)
        self._orders = orders
        self._metrics = metrics
        self._prepare = prepare
        self._announce = announce
        self._on_retire = on_retire
        self._on_orphan = on_orphan
        self._problems: tuple[str, ...] = ()
        self._starts = threading.Event()
        if models.production is not None:
            metrics.count_swap(models.production.name, models.production.version, models.production.run_id)

    @property
    def problems(self) -> list[str]:
        """Why the supervisor does not follow the registry."""
        return list(self._problems)

    def wait_until_started(self) -> None:
        """Announce that the worker could serve, and wait until it is to; the others then no longer do."""
        self._announce()
        self._starts.wait()

    def watch(self, stop: threading.Event, _seconds: float, _then: Then | None = None) -> None:
        """Follow the orders of the supervisor until `stop` is set or it ends."""
        if self._current is not None:
            try:
                self._prepare(self._current)
            except Exception:
                logger.exception("the model serves without what was to be prepared")
        while not stop.is_set():
            if not select.select([self._orders], [], [], _LOOK_SECONDS)[0]:
                continue
            line = self._orders.readline()
            if not line:
                self._on_orphan()
                self._starts.set()
                return
            self._obey(Order.decode(line))

    def _obey(self, order: Order) -> None:
        self._problems = order.problems
        if order.polled is not None:
            self._metrics.count_refresh(succeeded=order.polled)
        for _ in range(order.n_refused):
            self._metrics.count_refusal()
        if order.start:
            self._starts.set()
        if order.retire:
            self._on_retire()
