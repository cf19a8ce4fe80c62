"""Whether all that belongs to a day is there, so that what is frozen or measured of it stays right."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import Connection, select

from recsys.exceptions import UnfinishedDayError
from recsys.storage.tables import arrivals

# Feedback is taken over and users arrive by then (the schedules in `dags/`); what comes later belongs to the next day.
LAST_ARRIVALS: Final = time(21, 50)


def now_utc() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def find_last_finished_day(now: datetime) -> date:
    """Return the last day whose arrivals have come by the schedule, in UTC."""
    now = now.astimezone(UTC)
    return now.date() - timedelta(days=int(now.time() < LAST_ARRIVALS))


def require_finished_day(connection: Connection, day: date, now: datetime) -> None:
    """Refuse a day to which users may still be added.

    A day is finished when it is over, when its arrivals have come, or, on the day itself, after `LAST_ARRIVALS`.

    Raises
    ------
    UnfinishedDayError
        Names the last finished day.
    """
    today = now.astimezone(UTC).date()
    if day < today or (day == today and now.astimezone(UTC).time() >= LAST_ARRIVALS):
        return
    if connection.execute(select(arrivals.c.day).where(arrivals.c.day == day)).one_or_none() is None:
        raise UnfinishedDayError(
            f"{day} is not over and its users have not arrived: what is frozen now would stand for the whole day; "
            f"take --as-of {min(day, today) - timedelta(days=1)} (--day for drift), or make a dry run"
        )
