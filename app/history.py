"""The ratings and preferences of one person, by key, and never longer than a person waits."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from recsys.columns import Columns
from recsys.exceptions import ServiceUnavailableError
from recsys.storage.database import read_history, read_preferences
from recsys.storage.tables import users
from recsys.types import Floats, Genre, Ids, UserId

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 0.9
_WORKERS = 8


@dataclass(frozen=True)
class History:
    """What somebody rated: ids and ratings 1..10, ascending by item; and the share of each genre among them."""

    item_ids: Ids
    ratings: Floats
    genre_shares: Mapping[Genre, float] = field(default_factory=dict)


class HistoryReader:
    """Reads histories in threads of its own, so that a database that hangs cannot hold up anything else.

    A context manager: it reads between entry and exit, and may be entered again.

    Parameters
    ----------
    engine
        The database; its connections are closed on exit.
    patience
        Seconds after which a read is given up.
    """

    def __init__(self, engine: Engine, patience: float = PATIENCE_SECONDS) -> None:
        self._engine = engine
        self._patience = patience
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="history")
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of threads and connections."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None
        self._engine.dispose()

    def read(self, user_id: UserId) -> History | None:
        """Return the history of a known person, perhaps empty; None for somebody unknown.

        Raises
        ------
        ServiceUnavailableError
            If the database does not answer in time.
        """
        if self._threads is None:
            raise ServiceUnavailableError("histories are not read before the application starts or after it stops")
        future = self._threads.submit(self._read, user_id)
        try:
            return future.result(self._patience)
        except FutureTimeoutError:
            future.cancel()
            raise ServiceUnavailableError(f"PostgreSQL does not answer within {self._patience} s") from None
        except SQLAlchemyError as error:
            raise ServiceUnavailableError(f"PostgreSQL does not answer: {error}") from error

    def _read(self, user_id: UserId) -> History | None:
        with self._engine.connect() as connection:
            table = read_history(connection, user_id)
            if (
                table.empty
                and connection.execute(select(users.c.user_id).where(users.c.user_id == user_id)).first() is None
            ):
                return None
            preferences = read_preferences(connection, user_id)
        return History(
            table[Columns.Item].to_numpy(dtype=np.int64),
            table[Columns.Rating].to_numpy(dtype=np.float32),
            preferences.genre_shares if preferences else {},
        )
