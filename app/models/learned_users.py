"""Users that models learn while they serve: which they are is kept on disk, their ratings stay in PostgreSQL."""

import logging
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from app.models.serving import ServingModel
from recsys.exceptions import RecsysError
from recsys.recommender import UserProfile
from recsys.retrieval.user_user import GrowingModel
from recsys.types import RatingMatrix, UserId

logger = logging.getLogger(__name__)
# Users whose ratings are read at once.
_BATCH: Final = 500

ReadRatings = Callable[[Sequence[UserId]], Mapping[UserId, Mapping[int, float]]]


class LearnedUsers:
    """Inserts users of the database into the models that can grow, and again after a restart or a new version.

    The journal has a line for each insertion and removal, each with a checksum, so that a line which a crash has cut
    short, or which was altered, is left out and nothing else is lost: that user is inserted on the next request.

    Parameters
    ----------
    path
        The journal; None to keep nothing.
    read_ratings
        Reads the ratings of some users, item to rating; those who do not exist any more are left out.
    """

    def __init__(self, path: Path | None, read_ratings: ReadRatings) -> None:
        self._path = path
        self._read_ratings = read_ratings
        self._lock = threading.Lock()
        self._user_ids: dict[UserId, None] = dict.fromkeys(read_journal(path))

    @property
    def user_ids(self) -> list[UserId]:
        """Users in the order of their insertion."""
        with self._lock:
            return list(self._user_ids)

    def learn(self, model: ServingModel, algorithm: str, user_id: UserId, ratings: Mapping[int, float]) -> bool:
        """Insert a user into the model of an algorithm if it can grow; return whether that changed anything."""
        growing = find_growing(model).get(algorithm)
        if growing is None or not growing.insert(user_id, build_row(model, ratings)):
            return False
        with self._lock:
            if user_id not in self._user_ids:
                self._user_ids[user_id] = None
                self._write(f"+{user_id}")
        return True

    def forget(self, model: ServingModel | None, user_id: UserId) -> None:
        """Remove a user who was deleted from every model."""
        with self._lock:
            if self._user_ids.pop(user_id, 0) is None:
                self._write(f"-{user_id}")
        for growing in find_growing(model).values() if model is not None else ():
            growing.remove(user_id)

    def restore(self, model: ServingModel) -> int:
        """Insert everybody of the journal into a model that was loaded; return how many there are in the database."""
        growing, user_ids = find_growing(model), self.user_ids
        if not growing or not user_ids:
            return 0
        n_found = 0
        try:
            for start in range(0, len(user_ids), _BATCH):
                for user_id, ratings in self._read_ratings(user_ids[start : start + _BATCH]).items():
                    row = build_row(model, ratings)
                    for one in growing.values():
                        one.insert(user_id, row)
                    n_found += 1
        except RecsysError as error:
            logger.warning("%d users are inserted on their next request: %s", len(user_ids) - n_found, error)
        return n_found

    def _write(self, entry: str) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="ascii") as journal:
                journal.write(f"{entry} {zlib.crc32(entry.encode()):08x}\n")
        except OSError as error:
            logger.warning("inserted users are not kept in %s: %s", self._path, error)


def read_journal(path: Path | None) -> list[UserId]:
    """Read who was inserted and not removed since; lines that are incomplete or altered are left out."""
    if path is None or not path.exists():
        return []
    found: dict[UserId, None] = {}
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        entry, _, checksum = line.partition(" ")
        if not checksum or f"{zlib.crc32(entry.encode()):08x}" != checksum:
            logger.warning("a line of %s is damaged and left out", path)
            continue
        if entry.startswith("+"):
            found[int(entry[1:])] = None
        else:
            found.pop(int(entry[1:]), None)
    return list(found)


def find_growing(model: ServingModel) -> dict[str, GrowingModel]:
    """Find the models of a version that learn users while they serve, by algorithm."""
    generators = model.recommender.retriever.generators
    return {name: one for name, one in generators.items() if isinstance(one, GrowingModel)}


def build_row(model: ServingModel, ratings: Mapping[int, float]) -> RatingMatrix:
    """Arrange ratings as one row of a version's catalog, `(1, n_items)`, without titles that it does not know."""
    catalog = model.recommender.catalog
    item_ids = np.array(sorted(item_id for item_id, rating in ratings.items() if rating), dtype=np.int64)
    item_ids = item_ids[catalog.contains(item_ids)]
    values = np.array([ratings[item_id] for item_id in item_ids.tolist()], dtype=np.float32)
    return UserProfile(item_ids, values).to_history(catalog)
