"""The first day of the queue of arrivals: the users held back by an ingest arrive from then on."""

from datetime import date

from sqlalchemy import Connection, exists, select
from sqlalchemy.dialects.postgresql import insert

from recsys.storage.tables import arrival_queue, arrivals


def read_first_day(connection: Connection) -> date | None:
    """Read the day whose cohort starts at position 0; None if none was stored."""
    return connection.execute(select(arrival_queue.c.first_day)).scalar_one_or_none()


def start_queue(connection: Connection, first_day: date) -> None:
    """Store the first day if none is stored; where users have arrived without one, the days stay as they were."""
    if not connection.execute(select(exists(select(arrivals.c.day)))).scalar_one():
        connection.execute(insert(arrival_queue).values(first_day=first_day).on_conflict_do_nothing())


def move_first_day(connection: Connection, first_day: date) -> bool:
    """Replace the first day as long as nobody has arrived; return whether that was so."""
    if connection.execute(select(exists(select(arrivals.c.day)))).scalar_one():
        return False
    added = insert(arrival_queue).values(first_day=first_day)
    connection.execute(added.on_conflict_do_update(index_elements=["singleton"], set_={"first_day": first_day}))
    return True
