"""Summon the held-out users of a snapshot; how they judge is in `recsys.evaluation.judging`."""

import numpy as np

from recsys.columns import Columns
from recsys.data.splits import TEST
from recsys.evaluation import jury as juries
from recsys.evaluation.jury import Jury, World
from recsys.storage.snapshots import Snapshot
from recsys.types import RatingMatrix


def to_world(snapshot: Snapshot) -> World:
    """Take from a snapshot what an evaluation looks at."""
    users = snapshot.users[snapshot.users[Columns.ArrivedOn].notna()]
    arrived = np.sort(users[Columns.User].to_numpy(dtype=np.int64))
    return World(snapshot.catalog, snapshot.interactions, arrived, snapshot.digest)


def summon_jury(snapshot: Snapshot, training: RatingMatrix, group: str = TEST) -> Jury:
    """Take the users of a group of a snapshot with their fixed histories and targets.

    Raises
    ------
    EvaluationError
        If the snapshot has no such user.
    """
    return juries.summon_jury(to_world(snapshot), training, group)
