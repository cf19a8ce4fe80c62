"""Take what users rated, saw or planned over into `ratings` and `watch_statuses`, for the next models to learn from."""

import datetime as dt
import logging
import time
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from sqlalchemy import Column, Connection, Engine, func, insert, select, text

from recsys.columns import Columns
from recsys.exceptions import ServiceUnavailableError
from recsys.storage.database import advisory_lock
from recsys.storage.sourced_rows import upsert_sourced
from recsys.storage.tables import STATUS_OF_KIND, feedback, feedback_folds, ratings, watch_statuses
from recsys.storage.users import refresh_preferences
from recsys.types import EntrySource

logger = logging.getLogger(__name__)

LOCK = "feedback"
POLL_SECONDS: Final = 0.05
WAIT_SECONDS: Final = 30.0
_pause = time.sleep


@dataclass(frozen=True)
class FoldReport:
    """What a fold took over, or would take over in a dry run.

    Parameters
    ----------
    n_feedback
        Events of every kind that were new.
    n_ratings
        Rows of `ratings` that were added or changed; dismissals, clicks and impressions change none.
    last_feedback_id
        Everything up to this event is taken over.
    n_statuses
        Rows of `watch_statuses` that were added or changed.
    """

    day: dt.date
    n_feedback: int
    n_ratings: int
    last_feedback_id: int
    dry_run: bool = False
    n_statuses: int = 0


def fold_feedback(engine: Engine, day: dt.date, *, dry_run: bool = False) -> FoldReport:
    """Write the ratings and statuses of all waiting feedback into their tables, in one transaction.

    Of several ratings or statuses of a title by one user, the last one given holds, also if an import gave it that was
    stored before the fold; what files say is replaced. What was taken over is remembered
    by the greatest id in `feedback_folds`: another call finds nothing new, and of two calls at once the second waits
    for the first. The result does not depend on the day, which only names the row.

    Parameters
    ----------
    engine
        The database, migrated.
    dry_run
        Count, and take everything back.

    Raises
    ------
    ServiceUnavailableError
        If the database does not answer, or a transaction that writes feedback does not end; nothing is written then.
    """
    last = _find_last(engine)
    with engine.connect() as connection, connection.begin() as transaction, advisory_lock(connection, LOCK):
        first = connection.execute(select(func.coalesce(func.max(feedback_folds.c.last_feedback_id), 0))).scalar_one()
        waiting = (feedback.c.feedback_id > first) & (feedback.c.feedback_id <= last)
        n_feedback = connection.execute(select(func.count()).where(waiting)).scalar_one()
        if not n_feedback:
            return FoldReport(day, 0, 0, first, dry_run)
        n_ratings = _fold_ratings(connection, waiting)
        n_statuses = _fold_statuses(connection, waiting)
        report = FoldReport(day, n_feedback, n_ratings, last, dry_run, n_statuses)
        if dry_run:
            transaction.rollback()
        else:
            row = {"last_feedback_id": last, "day": day, "n_feedback": n_feedback, "n_ratings": n_ratings}
            connection.execute(insert(feedback_folds).values(row))
    logger.info("feedback of %s: %s", day, report)
    return report


def _find_last(engine: Engine) -> int:
    """Find the greatest id below which every event is there to be seen.

    Ids are drawn before their transaction commits, so that a smaller one can appear after a greater one. Whoever drew a
    smaller one holds a lock on the table for writing when the greatest is read; so the transactions that hold one are
    waited for, as `CREATE INDEX CONCURRENTLY` does it, and nobody waits for this one, as behind `LOCK TABLE`.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        last = int(connection.execute(select(func.coalesce(func.max(feedback.c.feedback_id), 0))).scalar_one())
        writing, deadline = _find_writers(connection), time.monotonic() + WAIT_SECONDS
        while writing := writing & _find_writers(connection):
            if time.monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"transactions that write feedback ({len(writing)}) did not end in {WAIT_SECONDS:g} s; run again"
                )
            _pause(POLL_SECONDS)
    return last


def _find_writers(connection: Connection) -> set[str]:
    """Find the transactions that may have drawn ids of events which they have not committed."""
    query = text(
        "SELECT virtualtransaction FROM pg_locks WHERE granted AND mode = 'RowExclusiveLock' "
        "AND relation = CAST(:name AS regclass) "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return set(connection.scalars(query, {"name": feedback.fullname}))


def _fold_ratings(connection: Connection, waiting: Any) -> int:
    """Upsert the last rating of each user and title, and compute the preferences of these users anew."""
    frame = _read_last(connection, waiting & (feedback.c.kind == "rating"), feedback.c.rating)
    if frame.empty:
        return 0
    written = upsert_sourced(connection, ratings, frame, EntrySource.Feedback)
    refresh_preferences(connection, sorted(set(frame[Columns.User].tolist())))
    return written


def _fold_statuses(connection: Connection, waiting: Any) -> int:
    """Upsert the last status of each user and title."""
    frame = _read_last(connection, waiting & feedback.c.kind.in_(STATUS_OF_KIND), feedback.c.kind)
    if frame.empty:
        return 0
    frame[Columns.Status] = [STATUS_OF_KIND[kind].value for kind in frame.pop("kind")]
    return upsert_sourced(connection, watch_statuses, frame, EntrySource.Feedback)


def _read_last(connection: Connection, condition: Any, column: Column[Any]) -> pd.DataFrame:
    """Read the last value of each user and title among some events, and when it was given."""
    keys, given_at = [feedback.c[name] for name in Columns.UserItem], feedback.c.created_at
    query = (
        select(*keys, column, given_at)
        .where(condition)
        .distinct(*keys)
        .order_by(*keys, given_at.desc(), feedback.c.feedback_id.desc())
    )
    rows = [tuple(row) for row in connection.execute(query)]
    return pd.DataFrame(rows, columns=[*Columns.UserItem, column.name, Columns.GivenAt])
