"""Partition the tables that grow with the users by a hash of the user, for installations that need it.

A user is read and written by key, and a key lies in one partition: an index of one partition fits into memory where
that of the whole table no longer does, partitions are vacuumed by themselves, and each can lie on a disk of its own.
Queries, upserts and migrations name the table as before.
"""

from typing import Final

from sqlalchemy import Connection, Engine, text

from recsys.exceptions import ConfigurationError
from recsys.storage.database import advisory_lock
from recsys.storage.migration import grant_roles
from recsys.storage.tables import SCHEMA, ratings, watch_statuses

PARTITIONED: Final = tuple(table.name for table in (ratings, watch_statuses))
MAX_PARTITIONS: Final = 1_024  # with more, planning a query takes longer than it


def read_partition_counts(connection: Connection) -> dict[str, int]:
    """Count the partitions of each table that can have some; 0 for one that is not partitioned."""
    query = text(
        "SELECT c.relname, (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = c.oid) FROM pg_class c "
        "WHERE c.relnamespace = to_regnamespace(:schema) AND c.relname = ANY(:names) AND c.relkind IN ('r', 'p')"
    )
    rows = connection.execute(query, {"schema": SCHEMA, "names": list(PARTITIONED)})
    return dict(sorted((str(name), int(count)) for name, count in rows))


def partition_tables(engine: Engine, n_partitions: int) -> dict[str, int]:
    """Move each table into so many partitions, in one transaction that writers wait for; returns the rows moved.

    Killed at any instant it leaves the tables as they were. A table that has so many partitions already is left alone.

    Raises
    ------
    ConfigurationError
        If the number is out of bounds, or a table has another number of partitions.
    """
    if not 2 <= n_partitions <= MAX_PARTITIONS:
        raise ConfigurationError(f"{n_partitions} partitions: choose 2 to {MAX_PARTITIONS}")
    moved = {}
    with engine.begin() as connection, advisory_lock(connection, "migrate"):
        for name, count in read_partition_counts(connection).items():
            if count not in (0, n_partitions):
                raise ConfigurationError(f"{name} has {count} partitions already; they cannot become {n_partitions}")
            if not count:
                moved[name] = _partition(connection, name, n_partitions)
        grant_roles(connection)
    return moved


def _partition(connection: Connection, name: str, n_partitions: int) -> int:
    old, new = f"{SCHEMA}.{name}", f"{SCHEMA}.{name}_partitioned"
    run = connection.exec_driver_sql
    run(f"LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE")
    # Names and definitions of keys and checks, which the new table gets when the old one is gone.
    constraints = connection.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass(:old) "
            "AND contype IN ('p', 'u', 'f', 'c') ORDER BY contype DESC, conname"
        ),
        {"old": old},
    ).all()
    run(f"CREATE TABLE {new} (LIKE {old} INCLUDING DEFAULTS) PARTITION BY HASH (user_id)")
    for number in range(n_partitions):
        part = f"{SCHEMA}.{name}_p{number:04d}"
        run(f"CREATE TABLE {part} PARTITION OF {new} FOR VALUES WITH (MODULUS {n_partitions}, REMAINDER {number})")
    n_rows = run(f"INSERT INTO {new} SELECT * FROM {old}").rowcount  # noqa: S608 - names are those of our tables
    run(f"DROP TABLE {old}")
    run(f"ALTER TABLE {new} RENAME TO {name}")
    for constraint, definition in constraints:
        run(f"ALTER TABLE {old} ADD CONSTRAINT {constraint} {definition}")
    run(f"ANALYZE {old}")
    return int(n_rows)
