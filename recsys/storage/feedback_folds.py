"""Take what users rated in the service over into `ratings`, so that the next models learn from it."""

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, func, insert, select, text

from recsys.columns import Columns
from recsys.storage.database import advisory_lock, upsert_rows
from recsys.storage.tables import feedback, feedback_folds, ratings
from recsys.storage.users import refresh_preferences

logger = logging.getLogger(__name__)

LOCK = "feedback"


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
    """

    day: dt.date
    n_feedback: int
    n_ratings: int
    last_feedback_id: int
    dry_run: bool = False


def fold_feedback(engine: Engine, day: dt.date, *, dry_run: bool = False) -> FoldReport:
    """Write the ratings of all waiting feedback into `ratings` and `user_preferences`, in one transaction.

    Of several ratings of a title by one user, the last one given holds. What was taken over is remembered by the
    greatest id in `feedback_folds`: another call finds nothing new, and of two calls at once the second waits for the
    first. The result does not depend on the day, which only names the row.

    Parameters
    ----------
    engine
        The database, migrated.
    dry_run
        Count, and take everything back.

    Raises
    ------
    ServiceUnavailableError
        If the database does not answer; nothing is written then.
    """
    last = _find_last(engine)
    with engine.connect() as connection, connection.begin() as transaction, advisory_lock(connection, LOCK):
        first = connection.execute(select(func.coalesce(func.max(feedback_folds.c.last_feedback_id), 0))).scalar_one()
        waiting = (feedback.c.feedback_id > first) & (feedback.c.feedback_id <= last)
        n_feedback = connection.execute(select(func.count()).where(waiting)).scalar_one()
        if not n_feedback:
            return FoldReport(day, 0, 0, first, dry_run)
        n_ratings = _fold_ratings(connection, waiting)
        report = FoldReport(day, n_feedback, n_ratings, last, dry_run)
        if dry_run:
            transaction.rollback()
        else:
            row = {"last_feedback_id": last, "day": day, "n_feedback": n_feedback, "n_ratings": n_ratings}
            connection.execute(insert(feedback_folds).values(row))
    logger.info("feedback of %s: %s", day, report)
    return report


def _find_last(engine: Engine) -> int:
    """Find the greatest id below which every event is there to be seen.

    Ids are drawn before their transaction commits, so that a smaller one can appear after a greater one. The lock waits
    for those who are writing just now, and is let go at once.
    """
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '30s'"))
        connection.execute(text(f"LOCK TABLE {feedback.fullname} IN SHARE MODE"))
        return int(connection.execute(select(func.coalesce(func.max(feedback.c.feedback_id), 0))).scalar_one())


def _fold_ratings(connection: Connection, waiting: Any) -> int:
    """Upsert the last rating of each user and title, and compute the preferences of these users anew."""
    newest = (
        select(feedback.c.user_id, feedback.c.item_id, feedback.c.rating)
        .where(waiting, feedback.c.kind == "rating")
        .distinct(feedback.c.user_id, feedback.c.item_id)
        .order_by(feedback.c.user_id, feedback.c.item_id, feedback.c.feedback_id.desc())
    )
    rows = connection.execute(newest).all()
    if not rows:
        return 0
    frame = pd.DataFrame([tuple(row) for row in rows], columns=Columns.Interactions)
    written = upsert_rows(connection, ratings, frame)
    refresh_preferences(connection, sorted({row.user_id for row in rows}))
    return written
