"""What operators look at: the newest decisions, arrivals, refused rows and drift, in one look at the database."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from recsys.storage.approvals import ApprovalRequest, read_waiting
from recsys.storage.history import count_quarantine
from recsys.storage.ledger import LedgerEntry, about_model
from recsys.storage.tables import arrivals, decisions, drift_reports


@dataclass(frozen=True)
class ArrivalDay:
    """A row of `arrivals`; `created_at` is when it was written."""

    day: dt.date
    n_users: int
    n_ratings: int
    created_at: dt.datetime


@dataclass(frozen=True)
class DriftDay:
    """A row of `drift_reports` without its report."""

    day: dt.date
    model_version: int
    breached: bool
    retraining_wanted: bool
    reason: str


@dataclass(frozen=True)
class Overview:
    """What the tables say now.

    Parameters
    ----------
    decisions
        The newest first.
    arrivals
        The newest days, oldest first.
    quarantined
        Refused rows by reason, the most frequent first.
    drift
        The newest day first.
    waiting
        Promotions that nobody approved or refused yet, oldest first.
    """

    decisions: tuple[LedgerEntry, ...]
    arrivals: tuple[ArrivalDay, ...]
    quarantined: Mapping[str, int]
    drift: tuple[DriftDay, ...]
    waiting: tuple[ApprovalRequest, ...] = ()


def read_overview(connection: Connection, model_name: str, *, n_decisions: int = 20, n_days: int = 30) -> Overview:
    """Read the newest rows of each table, of the ledger those about one model."""
    mine = select(decisions).where(about_model(model_name))
    ledger = mine.order_by(decisions.c.decision_id.desc()).limit(n_decisions)
    days = select(*_pick(arrivals, ArrivalDay)).order_by(arrivals.c.day.desc()).limit(n_days)
    drift = select(*_pick(drift_reports, DriftDay)).order_by(drift_reports.c.day.desc()).limit(n_days)
    return Overview(
        decisions=tuple(LedgerEntry(**row._mapping) for row in connection.execute(ledger)),
        arrivals=tuple(ArrivalDay(*row) for row in reversed(connection.execute(days).all())),
        quarantined=count_quarantine(connection),
        drift=tuple(DriftDay(*row) for row in connection.execute(drift)),
        waiting=tuple(read_waiting(connection, model_name)),
    )


def _pick(table: Any, row: type) -> list[Any]:
    return [table.c[name] for name in row.__dataclass_fields__]  # type: ignore[attr-defined]
