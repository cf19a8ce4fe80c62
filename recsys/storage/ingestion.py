"""Take a folder of files into PostgreSQL and freeze the result in S3.

Everything that goes into the tables goes in one transaction: killed at any instant, an ingest has either not happened
or happened whole, and running it again ends in the same tables.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, func, inspect, select, text

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.preferences import build_preference_rows, compute_preferences
from recsys.data.sources.reading import Source, read_source
from recsys.data.sources.reports import FileReport, OnProgress
from recsys.data.splits import hash_ids
from recsys.exceptions import ConfigurationError
from recsys.storage import tables
from recsys.storage.arrival_queue import start_queue
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import (
    advisory_lock,
    copy_rows,
    merge_rows,
    read_catalog,
    read_ratings,
    read_user_ids,
    upsert_rows,
)
from recsys.storage.foreign_keys import check_at_once
from recsys.storage.ingest_report import IngestReport, summarise_file
from recsys.storage.migration import migrate
from recsys.storage.snapshots import write_snapshot
from recsys.storage.sourced_rows import upsert_sourced
from recsys.types import EntrySource, Ids, Mask

INGEST_BATCH = "ingest"
# Which users are held back must not depend on which are trained on; the salts of those splits are small numbers.
_HOLD_BACK_SALT = 0x0FFE_12ED
_QUARANTINE_ROWS = 10_000  # copied at a time


def ingest_directory(
    directory: Path,
    engine: Engine,
    store: ArtifactStore,
    *,
    hold_back: float = 0.3,
    layout: str | None = None,
    partial: bool = False,
    first_day: date | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> IngestReport:
    """Read a folder, write it to PostgreSQL in one transaction and freeze the tables in a snapshot.

    Users who have already arrived stay among the users whatever their hash says; users who already wait in
    `future_users` keep waiting at their place. What users said to the service themselves stays, whatever the files say.

    Parameters
    ----------
    directory
        A folder in one of the layouts of `recsys.data.sources.layouts`; with `partial`, a single file too.
    engine, store
        A migrated database, and where the snapshot goes.
    hold_back
        Share 0..1 (1 excluded) of the users who are not there yet and will arrive later, chosen by a hash of the id.
    layout
        The name of the layout; found out without one.
    partial
        Whether a catalog without ratings, or ratings of stored items without a catalog, will do.
    first_day
        When the first of the users held back arrive, unless that was stored before.
    dry_run
        Roll the transaction back and write no snapshot. The database need not be migrated.
    on_progress
        Called with a stage, how much of it is done and out of how much.

    Raises
    ------
    SourceLayoutError, EmptyCatalogError
        If the folder is in no known layout or holds no item; nothing is written then.
    ConfigurationError
        If `hold_back` is no such share.
    """
    if not 0.0 <= hold_back < 1.0:
        raise ConfigurationError(f"hold_back must lie in 0..1 with 1 excluded, got {hold_back}")
    started = time.monotonic()
    report = on_progress or (lambda _stage, _done, _total: None)
    source = read_source(
        directory,
        layout=layout,
        partial=partial,
        read_known_items=lambda: _read_item_ids(engine),
        on_progress=on_progress,
    )
    written, n_known, n_held_back = _write_source(engine, source, hold_back, first_day, report, dry_run=dry_run)
    uri = "" if dry_run else _freeze(engine, store, report)
    return IngestReport(
        layout=source.layout,
        files=tuple(map(summarise_file, source.files)),
        n_items=len(source.items),
        n_users_known=n_known,
        n_users_held_back=n_held_back,
        written=written,
        snapshot_uri=uri,
        seconds=time.monotonic() - started,
        dry_run=dry_run,
        ignored=source.ignored,
    )


def _read_item_ids(engine: Engine) -> Ids:
    """Read the ids of the stored items, ascending; none where there is no table yet."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(tables.items.name, schema=tables.items.schema):
            return np.empty(0, dtype=np.int64)
        query = select(tables.items.c.item_id).order_by(tables.items.c.item_id)
        return np.array(connection.scalars(query).all(), dtype=np.int64)


def _write_source(
    engine: Engine,
    source: Source,
    hold_back: float,
    first_day: date | None,
    report: OnProgress,
    *,
    dry_run: bool,
) -> tuple[dict[str, int], int, int]:
    """Write all tables in one transaction, which a dry run rolls back."""
    with engine.connect() as connection, connection.begin() as transaction:
        if dry_run:
            migrate(connection)
        report("wait for other ingests", 0, 1)
        with advisory_lock(connection, "ingest"):
            report("wait for other ingests", 1, 1)
            # How long a bulk load takes depends on the files alone.
            connection.execute(
                text("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            )
            counts = _write_tables(connection, source, hold_back, report)
            if first_day is not None and counts[2]:
                start_queue(connection, first_day)
        if dry_run:
            transaction.rollback()
            return counts
        report("commit", 0, 1)
    report("commit", 1, 1)
    return counts


def _freeze(engine: Engine, store: ArtifactStore, report: OnProgress) -> str:
    report("write snapshot", 0, 1)
    uri = write_snapshot(engine, store, None)
    report("write snapshot", 1, 1)
    return uri


def _write_tables(
    connection: Connection, source: Source, hold_back: float, report: OnProgress
) -> tuple[dict[str, int], int, int]:
    """Write all tables and return the rows written by table, and how many users are known and held back."""
    user_ids = np.union1d(source.ratings[Columns.User].unique(), source.statuses[Columns.User].unique())
    held_back = _select_held_back(connection, user_ids, hold_back)
    known_ids = user_ids[~held_back]
    is_known = source.ratings[Columns.User].isin(known_ids)
    is_listed = source.statuses[Columns.User].isin(known_ids)
    written: dict[str, int] = {}
    stages: dict[str, Callable[[], int]] = {
        "items": lambda: _write_items(connection, source),
        "users": lambda: _add_users(connection, known_ids),
        "ratings": lambda: upsert_sourced(connection, tables.ratings, source.ratings[is_known], EntrySource.File),
        "watch_statuses": lambda: upsert_sourced(
            connection, tables.watch_statuses, source.statuses[is_listed], EntrySource.File
        ),
        "future_users": lambda: _write_future_users(connection, source.ratings[~is_known], source.statuses[~is_listed]),
        "quarantine": lambda: _write_quarantine(connection, source.files),
    }
    with check_at_once(connection, (tables.ratings, tables.watch_statuses)):
        for table, write in stages.items():
            report(f"write {table}", 0, 1)
            written[table] = write()
            report(f"write {table}", 1, 1)
        report("check foreign keys", 0, 1)
    report("check foreign keys", 1, 1)
    report("write user_preferences", 0, 1)
    stale = any(written[table] for table in ("items", "users", "ratings"))
    written["user_preferences"] = _refresh_preferences(connection) if stale else 0
    report("write user_preferences", 1, 1)
    return written, len(known_ids), int(held_back.sum())


def _write_items(connection: Connection, source: Source) -> int:
    return upsert_rows(connection, tables.items, source.items[source.item_columns]) if len(source.items) else 0


def _select_held_back(connection: Connection, user_ids: Ids, hold_back: float) -> Mask:
    waiting = np.array(connection.scalars(select(tables.future_users.c.user_id)).all(), dtype=np.int64)
    arrived = read_user_ids(connection)
    chosen = hash_ids(user_ids, salt=_HOLD_BACK_SALT).astype(np.float64) < hold_back * 2.0**64
    return np.asarray((chosen | np.isin(user_ids, waiting)) & ~np.isin(user_ids, arrived), dtype=np.bool_)


def _add_users(connection: Connection, user_ids: Ids) -> int:
    """Add users who are new; those who are there keep the day and batch of their arrival."""
    new = user_ids[~np.isin(user_ids, read_user_ids(connection))]
    return upsert_rows(connection, tables.users, pd.DataFrame({Columns.User: new, Columns.BatchId: INGEST_BATCH}))


def _write_future_users(connection: Connection, ratings: pd.DataFrame, statuses: pd.DataFrame) -> int:
    """Update the lists of users who wait and queue new ones behind them, in the order of a hash of their ids."""
    columns = tables.future_users.c
    lists = _list_by_user(ratings, statuses)
    if statuses.empty:
        # Files without statuses leave those that came before.
        lists = lists[["item_ids", "ratings"]]
    places = {row.user_id: row.position for row in connection.execute(select(columns.user_id, columns.position))}
    first = connection.execute(select(func.coalesce(func.max(columns.position), -1) + 1)).scalar_one()
    new = np.array([user_id for user_id in lists.index if user_id not in places], dtype=np.int64)
    queue = new[np.argsort(hash_ids(new, salt=_HOLD_BACK_SALT), kind="stable")] if len(new) else new
    places |= {user_id: first + offset for offset, user_id in enumerate(queue.tolist())}
    rows = lists.reset_index()
    rows["position"] = [places[user_id] for user_id in rows[Columns.User]]
    return upsert_rows(connection, tables.future_users, rows)


def _list_by_user(ratings: pd.DataFrame, statuses: pd.DataFrame) -> pd.DataFrame:
    """Arrange ratings and statuses as lists, one row per user; an empty list where there is none of a kind."""
    rated = ratings.groupby(Columns.User, sort=True).agg(item_ids=(Columns.Item, list), ratings=(Columns.Rating, list))
    plain = statuses.astype({Columns.Status: object})
    listed = plain.groupby(Columns.User, sort=True).agg(
        status_item_ids=(Columns.Item, list), statuses=(Columns.Status, list)
    )
    lists = rated.join(listed, how="outer").astype(object)
    return lists.map(lambda value: value if isinstance(value, list) else [])


def _write_quarantine(connection: Connection, files: Sequence[FileReport]) -> int:
    """Make the quarantine of these files equal to what was refused now.

    Whether an item is known depends on other files, so a row can leave the quarantine although its file is the same.
    """
    names = ["file_digest", "line", "file_name", "reason", "content"]
    staging = copy_rows(connection, tables.quarantine, _frame_refused(files, names))
    # Two files of a folder may be copies of one another.
    connection.execute(
        text(
            f"DELETE FROM {staging} AS row USING {staging} AS first WHERE row.file_digest = first.file_digest "  # noqa: S608
            "AND row.line = first.line AND row.ctid > first.ctid"
        )
    )
    written = merge_rows(connection, tables.quarantine, staging, names)
    removed = connection.execute(
        text(
            f"DELETE FROM {tables.quarantine.fullname} AS old WHERE old.file_digest = ANY(:digests) AND NOT EXISTS "  # noqa: S608
            f"(SELECT FROM {staging} AS new WHERE new.file_digest = old.file_digest AND new.line = old.line)"
        ),
        {"digests": [file.digest for file in files]},
    )
    return written + removed.rowcount


def _frame_refused(files: Sequence[FileReport], names: list[str]) -> Iterator[pd.DataFrame]:
    """Frame the refused rows, some thousand at a time; one empty frame where there are none."""
    rows = ((file.digest, row.line, file.name, row.reason, row.content) for file in files for row in file.refused)
    part = list(islice(rows, _QUARANTINE_ROWS))
    while True:
        yield pd.DataFrame(part, columns=names).astype({"line": np.int64})
        part = list(islice(rows, _QUARANTINE_ROWS))
        if not part:
            return


def _refresh_preferences(connection: Connection) -> int:
    """Compute the preferences of all users again: genres of old titles may have changed too."""
    catalog: Catalog = read_catalog(connection)
    rows = build_preference_rows(compute_preferences(read_ratings(connection, None), catalog))
    return upsert_rows(connection, tables.user_preferences, rows)
