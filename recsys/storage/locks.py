"""A lock for work that takes longer than any transaction should."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from recsys.exceptions import ServiceUnavailableError
from recsys.storage.database import compute_lock_key

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
# Held by who copies objects of S3 and by who deletes some.
COPYING: Final = "copying"


@contextmanager
def hold_lock(engine: Engine, name: str, *, poll_seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Hold a named lock of the session, outside any transaction; whoever else asks for it waits.

    It ends with the block or with the connection, so that a killed process never leaves it behind. Losing the
    connection in the middle, for example to a restart of PostgreSQL, is no error: the lock saves work that would be
    done twice, it is not what keeps the result right.
    """
    key = {"key": compute_lock_key(name)}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Asked again and again: a statement that waits would run into the timeout of the server.
        while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one():
            time.sleep(poll_seconds)
        try:
            yield
        finally:
            try:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
            except (SQLAlchemyError, ServiceUnavailableError) as error:
                logger.warning("the connection that held lock %r was lost: %s", name, error)
                connection.invalidate()
