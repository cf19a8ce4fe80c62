"""What happens next and when, as `otaku ingest` and `otaku up` say it."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, exists, func, inspect, select

from recsys.storage.arrival_queue import read_first_day
from recsys.storage.tables import arrival_queue, decisions, future_users, items, users
from retrain_model.days import LAST_ARRIVALS

# The schedule of `dags/retrain_model_dag.py`.
RETRAINING_AT: Final = time(22, 30)
_SUNDAY: Final = 6


def choose_first_day(now: datetime) -> date:
    """Choose the first day of arrivals of data that are ingested now: today, unless its arrivals are over."""
    now = now.astimezone(UTC)
    return now.date() + timedelta(days=int(now.time() >= LAST_ARRIVALS))


def compute_next_retraining(now: datetime) -> datetime:
    """Compute when the weekly retraining runs next."""
    now = now.astimezone(UTC)
    this_week = datetime.combine(now.date() + timedelta(days=(_SUNDAY - now.weekday()) % 7), RETRAINING_AT, UTC)
    return this_week if this_week > now else this_week + timedelta(days=7)


def describe_next(engine: Engine, now: datetime, *, has_airflow: bool) -> str:
    """Describe what happens next and when, and what may be done at once.

    Parameters
    ----------
    engine
        The database; it need not be migrated.
    has_airflow
        Whether an Airflow runs the schedules.
    """
    with engine.connect() as connection:
        found = _read_progress(connection)
    if found is None:
        return "Next: `otaku ingest DIR` loads your files; `otaku sample DIR` writes some to try."
    n_waiting, first_day, has_model = found
    day = max(choose_first_day(now), first_day)
    if not has_airflow:
        lines = [f"{n_waiting:,} users wait; without Airflow nobody arrives by itself: `otaku simulate --day {day}`."]
        return "\n".join([*lines, *([] if has_model else ["There is no model yet: `otaku retrain` trains one."])])
    retraining = f"{compute_next_retraining(now):%A, %Y-%m-%d, at %H:%M} UTC"
    lines = [f"{n_waiting:,} users wait; the next cohort arrives on {day} at {LAST_ARRIVALS:%H:%M} UTC."]
    if has_model:
        return "\n".join([*lines, f"The next retraining is on {retraining}."])
    by_hand = "`otaku retrain` trains one now, `otaku airflow dags trigger retrain_model` lets Airflow do it"
    return "\n".join([*lines, f"There is no model yet: {by_hand}; otherwise it is trained on {retraining}."])


def _read_progress(connection: Connection) -> tuple[int, date, bool] | None:
    """Read how many users wait, from when on, and whether a model was promoted; None before the first ingest."""
    if not inspect(connection).has_table(arrival_queue.name, schema=arrival_queue.schema):
        return None
    if connection.execute(select(items.c.item_id).limit(1)).first() is None:
        return None
    known = select(users.c.user_id).where(users.c.user_id == future_users.c.user_id)
    n_waiting = connection.execute(select(func.count()).select_from(future_users).where(~exists(known))).scalar_one()
    promotions = select(decisions.c.run_key).where(decisions.c.action == "promote").limit(1)
    has_model = connection.execute(promotions).first() is not None
    return n_waiting, read_first_day(connection) or date.min, has_model
