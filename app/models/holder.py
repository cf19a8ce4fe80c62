"""What the application knows of the versions in memory, however they came there."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from app.models.serving import ServingModel
from recsys.exceptions import NoProductionModelError

# Called with the served version after each look at where versions come from.
Then = Callable[[int | None], None]


class ModelHolder(ABC):
    """The served model: one reference, read by requests and replaced by one thread only.

    A request reads `current` once, so that no response mixes two versions.
    """

    def __init__(self, current: ServingModel | None = None, previous: ServingModel | None = None) -> None:
        self._current = current
        self._previous = previous

    @property
    def current(self) -> ServingModel:
        """The model that serves now.

        Raises
        ------
        NoProductionModelError
            Until the first one is loaded.
        """
        if self._current is None:
            raise NoProductionModelError("no model is loaded; promote one with `otaku retrain`")
        return self._current

    @property
    def served(self) -> ServingModel | None:
        """The model that serves now, None until the first one is loaded."""
        return self._current

    @property
    def previous(self) -> ServingModel | None:
        """The model that served before, kept in memory."""
        return self._previous

    @property
    @abstractmethod
    def problems(self) -> list[str]:
        """Why the service does not follow the registry; empty if it does."""

    def wait_until_started(self) -> None:
        """Wait until connections may be accepted."""
        return

    @abstractmethod
    def watch(self, stop: threading.Event, seconds: float, then: Then | None = None) -> None:
        """Follow what is promoted until `stop` is set, looking every so many seconds."""

    def close(self) -> None:
        """Stop following."""
        return
