"""Aliases that say what an array or a number means."""

from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

UserId: TypeAlias = int
ItemId: TypeAlias = int
Genre: TypeAlias = str

Ids: TypeAlias = npt.NDArray[np.int64]
Positions: TypeAlias = npt.NDArray[np.intp]
Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
# scipy ships no type information; a CSR matrix (n_users, n_items) whose stored values are ratings 1..10.
RatingMatrix: TypeAlias = Any


class EntrySource(StrEnum):
    """Where a rating or status comes from; the values are those of `ratings.source` and `watch_statuses.source`."""

    File = "file"
    Arrival = "arrival"
    Generated = "generated"
    Registration = "registration"
    Import = "import"
    Feedback = "feedback"

    @property
    def is_own(self) -> bool:
        """Whether the user said it to the service; a file never replaces that."""
        return self in {EntrySource.Registration, EntrySource.Import, EntrySource.Feedback}


class WatchStatus(StrEnum):
    """How far a user is with a title, whether rated or not; the values are those of table `watch_statuses`."""

    Completed = "completed"
    Watching = "watching"
    OnHold = "on_hold"
    Dropped = "dropped"
    Planned = "planned"
