"""Let the cohort of a day arrive in the database, wholly or not at all, once."""

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import psycopg2
import psycopg2.errors
from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.exc import DBAPIError

from recsys.columns import Columns
from recsys.data.preferences import build_preference_rows, compute_preferences
from recsys.data.users import is_generated
from recsys.exceptions import ArrivalError, NothingIngestedError, QueueNotStartedError, ServiceUnavailableError
from recsys.storage.arrival_queue import move_first_day, read_first_day
from recsys.storage.database import advisory_lock, upsert_rows
from recsys.storage.lineage import References, name_tables
from recsys.storage.sourced_rows import upsert_sourced
from recsys.storage.tables import arrivals, future_users, ratings, user_preferences, users, watch_statuses
from recsys.storage.users import read_genres
from recsys.types import EntrySource
from simulate_new_users.arrivals import EPOCH, CohortSize, check_cohort_size, check_day, select_positions
from simulate_new_users.cohorts import Cohort, read_cohort
from simulate_new_users.options import DEFAULT_COHORT_SIZE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArrivalReport:
    """What a run did, or would do if it was a dry run.

    Parameters
    ----------
    day, batch_id
        The day and the name that its users carry in `users.batch_id`.
    n_users, n_ratings, n_generated
        How many users and ratings the cohort has, and how many of the users were generated.
    user_ids
        The users, ascending.
    already_arrived
        The day had arrived before; nothing was changed and the numbers are those of then.
    dry_run
        Nothing was written.
    arrived_at
        When a day that had arrived before was written.
    """

    day: dt.date
    batch_id: str
    n_users: int
    n_ratings: int
    n_generated: int
    user_ids: tuple[int, ...]
    already_arrived: bool = False
    dry_run: bool = False
    arrived_at: dt.datetime | None = None


def add_new_users(
    engine: Engine,
    day: dt.date,
    *,
    cohort_size: CohortSize = DEFAULT_COHORT_SIZE,
    dry_run: bool = False,
    scheduled: bool = False,
) -> ArrivalReport:
    """Add the cohort of a day to its tables, from `users` to `arrivals`, in one transaction.

    The cohort is a function of the day, of what was ingested and of `cohort_size`, not of what arrived before. A day
    that is in `arrivals` is left as it is; of two runs at the same time, the second waits for the first and finds it.

    The queue counts from the day that the first ingest stored. As long as nobody has arrived, an earlier day may be
    asked for as well, to replay the past: the queue then counts from `arrivals.EPOCH`, or from that day if all who wait
    would have arrived before it.

    Parameters
    ----------
    engine
        The database, migrated.
    day
        `arrivals.EPOCH` or later.
    cohort_size
        Smallest and largest size, both possible, within 1..1000; keep it the same for all days.
    dry_run
        Choose and compute all the same, in a transaction that cannot write.
    scheduled
        The day comes from a schedule, which replays nothing.

    Raises
    ------
    ArrivalError
        If the day or size is not possible, or another process changed the same users meanwhile.
    NothingIngestedError
        If the database holds nobody to draw from, or no tables.
    QueueNotStartedError
        If a scheduled day lies before the first one of the queue.
    ServiceUnavailableError
        If the database does not answer; nothing is written then.
    """
    check_day(day)
    check_cohort_size(cohort_size)
    with _plain_errors(), _transaction(engine, dry_run=dry_run) as connection:
        report = _read_report(connection, day, dry_run=dry_run)
        if report is None:
            first_day = _find_first_day(connection, day, cohort_size, dry_run=dry_run, scheduled=scheduled)
            cohort = read_cohort(connection, day, select_positions(day, cohort_size, first_day))
            report = _build_report(cohort, day, dry_run=dry_run)
            # Computed in a dry run too: what would fail for real fails there as well.
            preferences = _compute_preference_rows(connection, cohort)
            if not dry_run:
                _write_cohort(connection, report, cohort, preferences)
    logger.info("arrivals of %s: %s", day, report)
    return report


def _find_first_day(
    connection: Connection, day: dt.date, cohort_size: CohortSize, *, dry_run: bool, scheduled: bool
) -> dt.date:
    """Find the day from which the queue counts, so that it is not after `day` and, if it is moved, ends after it."""
    first_day = read_first_day(connection) or EPOCH
    if day >= first_day:
        return first_day
    if scheduled:
        raise QueueNotStartedError(f"nobody arrives on {day}: the queue starts on {first_day}")
    if connection.execute(select(arrivals.c.day).limit(1)).first() is not None:
        check_day(day, first_day)
    n_waiting = connection.execute(select(func.count()).select_from(future_users)).scalar_one()
    moved = EPOCH if select_positions(day, cohort_size, EPOCH).start < n_waiting else day
    if not dry_run:
        move_first_day(connection, moved)
        logger.info("the queue of arrivals counts from %s now, not from %s", moved, first_day)
    return moved


def _build_report(cohort: Cohort, day: dt.date, *, dry_run: bool) -> ArrivalReport:
    return ArrivalReport(
        day=day,
        batch_id=f"arrival:{day}",
        n_users=len(cohort.user_ids),
        n_ratings=len(cohort.interactions),
        n_generated=cohort.n_generated,
        user_ids=tuple(sorted(cohort.user_ids.tolist())),
        dry_run=dry_run,
    )


@contextmanager
def _transaction(engine: Engine, *, dry_run: bool) -> Iterator[Connection]:
    """Open a transaction: one that only reads, of one moment, for a dry run, else one that excludes other cohorts."""
    with engine.connect() as connection:
        if dry_run:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection
        else:
            with connection.begin(), advisory_lock(connection, "arrivals"):
                yield connection


def _read_report(connection: Connection, day: dt.date, *, dry_run: bool) -> ArrivalReport | None:
    row = connection.execute(select(arrivals).where(arrivals.c.day == day)).one_or_none()
    if row is None:
        return None
    cohort = select(users.c.user_id).where(users.c.batch_id == row.batch_id, users.c.arrived_on == day)
    user_ids = tuple(sorted(connection.scalars(cohort)))
    numbers = (row.n_users, row.n_ratings, row.n_generated)
    then = {"already_arrived": True, "arrived_at": row.created_at}
    return ArrivalReport(day, row.batch_id, *numbers, user_ids, dry_run=dry_run, **then)


def _compute_preference_rows(connection: Connection, cohort: Cohort) -> pd.DataFrame | None:
    if not len(cohort.interactions):
        return None
    genres = read_genres(connection, cohort.interactions.table[Columns.Item].unique())
    return build_preference_rows(compute_preferences(cohort.interactions, genres))


def _write_cohort(
    connection: Connection, report: ArrivalReport, cohort: Cohort, preferences: pd.DataFrame | None
) -> None:
    numbers = {"n_users": report.n_users, "n_ratings": report.n_ratings, "n_generated": report.n_generated}
    connection.execute(insert(arrivals).values(day=report.day, batch_id=report.batch_id, **numbers))
    if not report.user_ids:
        # Everybody of the cohort is known by now; the day has arrived all the same.
        return
    # Plain inserts: the primary key refuses a user that another process adds at the same time.
    known_users = [{"user_id": user_id} for user_id in report.user_ids]
    connection.execute(insert(users).values(arrived_on=report.day, batch_id=report.batch_id), known_users)
    rated = cohort.interactions.table
    made_up = is_generated(rated[Columns.User].to_numpy())
    upsert_sourced(connection, ratings, rated[~made_up], EntrySource.Arrival)
    upsert_sourced(connection, ratings, rated[made_up], EntrySource.Generated)
    upsert_sourced(connection, watch_statuses, cohort.statuses.table, EntrySource.Arrival)
    if preferences is not None:
        upsert_rows(connection, user_preferences, preferences)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Say in one sentence what went wrong in the database."""
    try:
        yield
    except (DBAPIError, psycopg2.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = " ".join(str(cause).split())
        if isinstance(cause, psycopg2.errors.UndefinedTable | psycopg2.errors.InvalidSchemaName):
            raise NothingIngestedError(
                "the database has no tables yet; ingest ratings first (`otaku ingest DIR`)"
            ) from error
        if isinstance(cause, psycopg2.errors.UniqueViolation):
            raise ArrivalError(
                f"another process added the same users; nothing was written, run again ({reason})"
            ) from error
        raise ServiceUnavailableError(f"PostgreSQL gave up, nothing was written: {reason}") from error


def build_references(engine: Engine) -> References:
    """Name the tables that a cohort comes from and goes to."""
    written = (users, ratings, watch_statuses, user_preferences, arrivals)
    return References(inputs=name_tables(engine, (future_users,)), outputs=name_tables(engine, written))
