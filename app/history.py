"""The ratings, preferences and dismissals of one person, as a request needs them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from app.database import Database
from recsys.storage.people import StoredPerson, read_person
from recsys.types import Floats, Genre, Ids, UserId


@dataclass(frozen=True)
class History:
    """What somebody rated and does not want to see.

    Parameters
    ----------
    item_ids, ratings
        Ids ascending, ratings 1..10.
    genre_shares
        The share of each genre among what was watched, 0..1.
    dismissed_item_ids
        What is never shown to them.
    """

    item_ids: Ids
    ratings: Floats
    genre_shares: Mapping[Genre, float] = field(default_factory=dict)
    dismissed_item_ids: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """A name for exactly this state of the person's data: any write that matters changes it."""
        parts = hashlib.sha256(self.item_ids.tobytes() + b"/" + self.ratings.tobytes())
        parts.update(repr((sorted(self.genre_shares.items()), self.dismissed_item_ids)).encode())
        return parts.hexdigest()


async def read_history(database: Database, user_id: UserId) -> History | None:
    """Read the history of a known person, perhaps empty; None for somebody unknown.

    Raises
    ------
    ServiceUnavailableError
        If the database does not answer in time.
    """
    person = await database.read(lambda connection: read_person(connection, user_id))
    return None if person is None else build_history(person)


def build_history(person: StoredPerson) -> History:
    """Arrange what is stored of a person."""
    return History(
        item_ids=np.fromiter(person.ratings.keys(), dtype=np.int64, count=len(person.ratings)),
        ratings=np.fromiter(person.ratings.values(), dtype=np.float32, count=len(person.ratings)),
        genre_shares=person.genre_shares,
        dismissed_item_ids=person.dismissed_item_ids,
    )
