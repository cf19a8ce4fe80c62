"""PostgreSQL: connections, locks, bulk loading, and the reads that the jobs and the service share."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import psycopg2
import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection, Engine, ExceptionContext, Table, create_engine, event, or_, select, text
from sqlalchemy.sql import Select

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.exceptions import NothingIngestedError, ServiceUnavailableError
from recsys.storage.tables import SCHEMA, items, ratings, user_preferences, users
from recsys.types import Genre, Ids, UserId

_COPIED_ROWS = 250_000  # of a frame at a time


def create_database_engine(
    url: str, *, statement_timeout: float = 300.0, connect_timeout: int = 10, pool_size: int = 5
) -> Engine:
    """Create an engine for PostgreSQL through psycopg2; nothing connects yet.

    Parameters
    ----------
    url
        `postgresql://...`
    statement_timeout
        Seconds after which the server cancels a statement, so that no request or job hangs for ever.
    connect_timeout
        Seconds after which connecting is given up, and after which a server that acknowledges nothing counts as gone.
    pool_size
        Connections that are kept open; ten more may be opened for a while.
    """
    milliseconds = int(statement_timeout * 1000)
    options = (
        f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds} -c timezone=UTC"
    )
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=pool_size,
        connect_args={
            "connect_timeout": connect_timeout,
            "tcp_user_timeout": connect_timeout * 1000,
            "application_name": "otaku",
            "options": options,
        },
    )
    event.listen(engine, "handle_error", _translate_disconnect)
    return engine


def _translate_disconnect(context: ExceptionContext) -> None:
    never_connected = context.connection is None
    if not context.is_pre_ping and (context.is_disconnect or never_connected):
        raise ServiceUnavailableError(
            f"PostgreSQL does not answer: {str(context.original_exception).strip()}"
        ) from context.original_exception


@contextmanager
def advisory_lock(connection: Connection, name: str) -> Iterator[None]:
    """Hold a named lock until the transaction of the connection ends; whoever else asks for it waits.

    The lock outlives the `with` block up to the commit on purpose: released before, another process could read
    the tables as they were before this transaction.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": compute_lock_key(name)})
    yield


def compute_lock_key(name: str) -> int:
    """Turn the name of a lock into the 64-bit number that PostgreSQL knows it by."""
    return int.from_bytes(hashlib.sha256(f"{SCHEMA}:{name}".encode()).digest()[:8], "big", signed=True)


def copy_rows(connection: Connection, table: Table, frame: pd.DataFrame | Iterable[pd.DataFrame]) -> str:
    """Load one frame or many through COPY into a fresh temporary table, dropped when the transaction ends.

    Parameters
    ----------
    connection
        An open transaction.
    table
        The temporary table has its names and types; constraints and keys are not copied.
    frame
        Its columns, the same in all, are columns of the table; lists go into arrays, mappings into JSON, None and NaN
        are null.

    Returns
    -------
    str
        The name of the temporary table.
    """
    staging = f"staging_{table.name}"
    frames = iter([frame] if isinstance(frame, pd.DataFrame) else frame)
    first = next(frames)
    columns = ", ".join(first.columns)
    connection.execute(text(f"DROP TABLE IF EXISTS pg_temp.{staging}"))
    # Here and below, names come from the tables of this package, never from input.
    like = f"SELECT {columns} FROM {table.fullname} LIMIT 0"  # noqa: S608
    connection.execute(text(f"CREATE TEMP TABLE {staging} ON COMMIT DROP AS {like}"))
    with _cursor(connection) as cursor:
        for part in _divide(chain([first], frames)):
            content = BytesIO()
            pyarrow.csv.write_csv(_to_arrow(part), content, pyarrow.csv.WriteOptions(include_header=False))
            content.seek(0)
            cursor.copy_expert(f"COPY pg_temp.{staging} ({columns}) FROM STDIN (FORMAT csv)", content)
    connection.execute(text(f"ANALYZE {staging}"))
    return staging


def _divide(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Cut frames into parts whose text is small beside them."""
    for frame in frames:
        for start in range(0, len(frame), _COPIED_ROWS):
            yield frame.iloc[start : start + _COPIED_ROWS]


def upsert_rows(connection: Connection, table: Table, frame: pd.DataFrame) -> int:
    """Make the rows of a table that share a key with the frame equal to it, and add the others.

    Returns
    -------
    int
        Rows added or changed; rows that were equal already are not written, so a second call returns 0.
    """
    staging = copy_rows(connection, table, frame)
    written = merge_rows(connection, table, staging, list(frame.columns))
    connection.execute(text(f"DROP TABLE {staging}"))
    return written


def merge_rows(connection: Connection, table: Table, staging: str, names: Sequence[str]) -> int:
    """Upsert what `copy_rows` staged and return the number of rows added or changed; `names` are its columns."""
    keys = [column.name for column in table.primary_key]
    values = [name for name in names if name not in keys]
    columns, key = ", ".join(names), ", ".join(keys)
    action = "DO NOTHING"
    if values:
        old = ", ".join(f"target.{name}" for name in values)
        new = ", ".join(f"excluded.{name}" for name in values)
        changes = ", ".join(f"{name} = excluded.{name}" for name in values)
        action = f"DO UPDATE SET {changes} WHERE ({old}) IS DISTINCT FROM ({new})"
    source = f"SELECT {columns} FROM {staging} ORDER BY {key}"  # noqa: S608
    insert = f"INSERT INTO {table.fullname} AS target ({columns}) {source} ON CONFLICT ({key}) {action}"
    return connection.execute(text(insert)).rowcount


def read_frame(connection: Connection, query: Select[Any]) -> pd.DataFrame:
    """Read the rows of a query of plain columns through COPY, several times faster than row by row."""
    literals = query.compile(connection, compile_kwargs={"literal_binds": True})
    content = BytesIO()
    with _cursor(connection) as cursor:
        cursor.copy_expert(f"COPY ({literals}) TO STDOUT (FORMAT csv, HEADER)", content)
    content.seek(0)
    rows: pd.DataFrame = pyarrow.csv.read_csv(content).to_pandas()
    return rows


def read_catalog(source: Engine | Connection) -> Catalog:
    """Read all items.

    Raises
    ------
    NothingIngestedError
        If there is none yet.
    """
    with connect(source) as connection:
        rows = connection.execute(select(*(items.c[name] for name in ItemColumns.All)).order_by(items.c.item_id)).all()
    if not rows:
        raise NothingIngestedError("the catalog is empty: nothing was ingested yet (`otaku ingest DIR`)")
    frame = pd.DataFrame.from_records([tuple(row) for row in rows], columns=ItemColumns.All)
    return Catalog(frame.astype(dict.fromkeys(ItemColumns.Numericals, np.float64)))


def read_ratings(source: Engine | Connection, as_of: date | None) -> Interactions:
    """Read the ratings of everyone who was there on a day; None means everyone who ever arrived."""
    with connect(source) as connection:
        query: Select[Any] = select(*(ratings.c[name] for name in Columns.Interactions))
        if as_of is not None:
            query = query.join(users, ratings.c.user_id == users.c.user_id).where(was_there(as_of))
        return Interactions(read_frame(connection, query))


def read_users(source: Engine | Connection, as_of: date | None) -> pd.DataFrame:
    """Read `user_id` and `arrived_on` (None for users of the first ingest), ascending by id."""
    query = select(users.c.user_id, users.c.arrived_on).order_by(users.c.user_id)
    with connect(source) as connection:
        rows = connection.execute(query if as_of is None else query.where(was_there(as_of))).all()
    arrived_on = pd.Series([row.arrived_on for row in rows], dtype=object)
    return pd.DataFrame(
        {Columns.User: np.array([row.user_id for row in rows], dtype=np.int64), Columns.ArrivedOn: arrived_on}
    )


def read_history(connection: Connection, user_id: UserId) -> pd.DataFrame:
    """Read `item_id` and `rating` of one user by key, ascending by item; empty for an unknown user."""
    query = select(ratings.c.item_id, ratings.c.rating).where(ratings.c.user_id == user_id).order_by(ratings.c.item_id)
    rows = connection.execute(query).all()
    table = np.array([tuple(row) for row in rows], dtype=np.int64).reshape(-1, 2)
    return pd.DataFrame({Columns.Item: table[:, 0], Columns.Rating: table[:, 1].astype(np.int8)})


@dataclass(frozen=True)
class StoredPreferences:
    """One row of `user_preferences`: mean rating 1..10 and genre -> share 0..1 of the watched titles."""

    n_ratings: int
    mean_rating: float
    genre_shares: Mapping[Genre, float]


def read_preferences(connection: Connection, user_id: UserId) -> StoredPreferences | None:
    """Read the preferences of one user by key; None for a user without any."""
    columns = user_preferences.c
    query = select(columns.n_ratings, columns.mean_rating, columns.genre_shares).where(columns.user_id == user_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredPreferences(row.n_ratings, row.mean_rating, row.genre_shares)


def read_user_ids(connection: Connection) -> Ids:
    """Read the ids of everyone in `users`, ascending."""
    return np.array(connection.scalars(select(users.c.user_id).order_by(users.c.user_id)).all(), dtype=np.int64)


def was_there(as_of: date) -> Any:
    """Return the condition on `users` that a user had arrived by a day."""
    return or_(users.c.arrived_on.is_(None), users.c.arrived_on <= as_of)


@contextmanager
def connect(source: Engine | Connection) -> Iterator[Connection]:
    """Yield a connection: the given one, or one of the engine for as long as the block runs."""
    if isinstance(source, Connection):
        yield source
    else:
        with source.connect() as connection:
            yield connection


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """Give the cursor of psycopg2 below a connection, inside its transaction."""
    connection.execute(text("SELECT 1"))  # opens the transaction that SQLAlchemy begins lazily
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except psycopg2.OperationalError as error:
        raise ServiceUnavailableError(f"PostgreSQL stopped answering: {str(error).strip()}") from error
    finally:
        cursor.close()


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    columns = {str(name): pa.array(_to_literals(frame[name]), from_pandas=True) for name in frame.columns}
    texts = (pa.types.is_null, pa.types.is_dictionary)
    return pa.table(
        {name: col.cast(pa.string()) if any(is_(col.type) for is_ in texts) else col for name, col in columns.items()}
    )


def _to_literals(column: pd.Series) -> pd.Series:
    """Write lists as array literals and mappings as JSON; leave other values."""
    first = next((value for value in column if value is not None), None) if column.dtype == object else None
    if isinstance(first, dict):
        return column.map(lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False))
    if isinstance(first, list | np.ndarray):
        return column.map(_to_array_literal)
    return column


def _to_array_literal(values: Any) -> str:
    return "{" + ",".join(_quote(value) if isinstance(value, str) else str(value) for value in values) + "}"


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
