"""One circuit breaker for PostgreSQL and Redis.

Breaker libraries (purgatory, pybreaker, aiobreaker) count a failure when it ends, whenever the call began, and read the
wall clock. Calls here run side by side and may hang until their timeout: those that began in an outage fail after the
first success that ended it, and would open the breaker of a healthy server again.
"""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after failures in a row; while open, one call per pause is let through as a trial.

    Not thread-safe: called from the event loop only.

    Parameters
    ----------
    max_failures
        Failures in a row that open it.
    pause_seconds
        Time between two trials.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, max_failures: int = 1, pause_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_failures = max_failures
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._failures = 0
        self._successes = 0
        self._next_trial: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last calls failed."""
        return self._next_trial is not None

    def allow(self) -> bool:
        """Return whether a call may be made now; while open, true once per pause."""
        if self._next_trial is not None:
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + self._pause_seconds  # this call is the trial; others do not wait for it
        return True

    def begin(self) -> int:
        """Return the token of a call that begins, to be handed to `record_failure`."""
        return self._successes

    def record_success(self) -> None:
        """Close the breaker."""
        self._failures, self._next_trial = 0, None
        self._successes += 1

    def record_failure(self, token: int) -> bool:
        """Count a failed call unless another has succeeded since it began; return whether this opened the breaker."""
        if token != self._successes:
            return False
        self._failures += 1
        if self._failures < self._max_failures:
            return False
        opened = self._next_trial is None
        self._next_trial = self._clock() + self._pause_seconds
        return opened
