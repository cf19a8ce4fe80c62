"""Databases of the tests: copied from a template, emptied after a test, and dropped if it changed more than rows."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql

from otaku.platform import postgres

# All that a test may change beside rows, as text.
_DESCRIPTION = """
WITH schemas AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
                 WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
     relations AS (SELECT c.oid AS id, nspname, relname, relkind, relowner, relacl, reloptions, relrowsecurity
                   FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace)
SELECT concat_ws('|', 'database', datacl, (SELECT array_agg(setconfig::text) FROM pg_db_role_setting s
       WHERE s.setdatabase = d.oid)) FROM pg_database d WHERE datname = current_database()
UNION ALL SELECT concat_ws('|', 'schema', nspname, nspowner, nspacl) FROM schemas
UNION ALL SELECT concat_ws('|', 'extension', extname) FROM pg_extension
UNION ALL SELECT concat_ws('|', 'relation', nspname, relname, relkind, relowner, relacl, reloptions, relrowsecurity)
       FROM relations
UNION ALL SELECT concat_ws('|', 'column', nspname, relname, attnum, attname, format_type(atttypid, atttypmod),
       attnotnull, attacl, attidentity, pg_get_expr(adbin, adrelid))
       FROM relations JOIN pg_attribute ON attrelid = id LEFT JOIN pg_attrdef ON adrelid = id AND adnum = attnum
UNION ALL SELECT concat_ws('|', 'constraint', nspname, relname, conname, pg_get_constraintdef(k.oid))
       FROM relations JOIN pg_constraint k ON conrelid = id
UNION ALL SELECT concat_ws('|', 'index', pg_get_indexdef(indexrelid), indisvalid)
       FROM relations JOIN pg_index ON indrelid = id
UNION ALL SELECT concat_ws('|', 'trigger', pg_get_triggerdef(t.oid), tgenabled)
       FROM relations JOIN pg_trigger t ON tgrelid = id WHERE NOT tgisinternal
UNION ALL SELECT concat_ws('|', 'function', pg_get_functiondef(p.oid), proacl)
       FROM pg_proc p JOIN schemas n ON n.oid = pronamespace WHERE prokind IN ('f', 'p')
UNION ALL SELECT concat_ws('|', 'type', typname, (SELECT array_agg(enumlabel::text ORDER BY enumsortorder)
       FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t JOIN schemas n ON n.oid = typnamespace
ORDER BY 1
"""
_TABLES = """
SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
# They refuse that a table is emptied.
_GUARDS = """
SELECT nspname, relname, tgname FROM pg_trigger
JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE tgenabled = 'A'
"""
_numbers = itertools.count()


@contextmanager
def _connect(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


class Databases:
    """Databases of one kind on a server.

    Parameters
    ----------
    template
        Name of the database that they are copied from.
    """

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url, self._template = server_url, template
        self._free: list[str] = []
        self._fresh: Any = None

    @contextmanager
    def open(self) -> Iterator[str]:
        """Yield the name of a database as the template is, which no other test has meanwhile."""
        name = self._free.pop() if self._free else self._create()
        yield name
        url = postgres.sibling_database(self._server_url, name)
        if self._empty(url):
            self._free.append(name)
        else:
            with _connect(self._server_url) as cursor:
                cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _create(self) -> str:
        name = f"test_{next(_numbers)}"
        with _connect(self._server_url) as cursor:
            source = sql.Identifier(self._template)
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        if self._fresh is None:
            with _connect(postgres.sibling_database(self._server_url, name)) as cursor:
                self._fresh = self._describe(cursor)
        return name

    def _describe(self, cursor: Any) -> tuple[list[str], dict[tuple[str, str], list[str]]]:
        """Describe what a database consists of, and the rows of its tables."""
        cursor.execute(_DESCRIPTION)
        parts = [line for (line,) in cursor.fetchall()]
        cursor.execute(_TABLES)
        rows = {}
        for table in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(*table)))
            rows[table] = [line for (line,) in cursor.fetchall()]
        return parts, rows

    def _empty(self, url: str) -> bool:
        """Delete the rows that the template does not have; False if a database is no longer what it was."""
        with _connect(url) as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            cursor.execute(_TABLES)
            kept = {table for table, rows in self._fresh[1].items() if rows}
            filled = []
            for table in set(cursor.fetchall()) - kept:
                cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(*table)))
                if cursor.fetchone()[0]:
                    filled.append(sql.Identifier(*table))
            if filled:
                cursor.execute(_GUARDS)
                guards = [(sql.Identifier(*table), sql.Identifier(name)) for *table, name in cursor.fetchall()]
                for table, name in guards:
                    cursor.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(table, name))
                cursor.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(filled)))
                for table, name in guards:
                    cursor.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table, name))
            cursor.execute("SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence")
            return bool(self._describe(cursor) == self._fresh)
