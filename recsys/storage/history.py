"""What happened, as the tables have it: decisions, arrivals, refused rows and drift, with filters, the newest first."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from recsys.storage.ledger import about_model
from recsys.storage.tables import arrivals, decisions, drift_reports, quarantine

Rows = list[dict[str, Any]]


def read_decisions(
    connection: Connection,
    model_name: str,
    *,
    action: str | None = None,
    version: int | None = None,
    since: dt.date | None = None,
    limit: int,
) -> Rows:
    """Read lines of the ledger about a model; `since` is a day in UTC, included."""
    wanted = [about_model(model_name)]
    if action is not None:
        wanted.append(decisions.c.action == action)
    if version is not None:
        wanted.append(decisions.c.challenger_version == version)
    if since is not None:
        wanted.append(decisions.c.created_at >= dt.datetime.combine(since, dt.time(), dt.UTC))
    return _read(connection, decisions, wanted, [decisions.c.decision_id.desc()], limit)


def read_arrivals(connection: Connection, *, since: dt.date | None = None, limit: int) -> Rows:
    """Read the days on which users arrived; days without any were visited all the same."""
    wanted = [] if since is None else [arrivals.c.day >= since]
    return _read(connection, arrivals, wanted, [arrivals.c.day.desc()], limit)


def read_quarantine(connection: Connection, *, reason: str | None = None, limit: int) -> Rows:
    """Read refused rows, file by file; `reason` is a part of the reason in any casing."""
    wanted = [] if reason is None else [quarantine.c.reason.icontains(reason, autoescape=True)]
    order = [quarantine.c.created_at.desc(), quarantine.c.file_digest, quarantine.c.line]
    return _read(connection, quarantine, wanted, order, limit)


def count_quarantine(connection: Connection) -> dict[str, int]:
    """Count refused rows by reason, the most frequent first."""
    n = func.count()
    query = select(quarantine.c.reason, n).group_by(quarantine.c.reason).order_by(n.desc(), quarantine.c.reason)
    return {str(reason): int(count) for reason, count in connection.execute(query)}


def read_drift(connection: Connection, *, since: dt.date | None = None, breached: bool = False, limit: int) -> Rows:
    """Read measured days without their reports; `breached` for those alone where a limit was passed."""
    wanted: list[ColumnElement[bool]] = [] if since is None else [drift_reports.c.day >= since]
    if breached:
        wanted.append(drift_reports.c.breached)
    rows = _read(connection, drift_reports, wanted, [drift_reports.c.day.desc()], limit)
    return [{name: value for name, value in row.items() if name != "report"} for row in rows]


def _read(
    connection: Connection,
    table: Table,
    wanted: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[Any]],
    limit: int,
) -> Rows:
    rows = connection.execute(select(table).where(*wanted).order_by(*order).limit(limit))
    return [dict(row._mapping) for row in rows]
