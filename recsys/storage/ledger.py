"""The ledger: one row for each decision about a version, in the order in which they were made, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, insert, or_, select

from recsys.storage.tables import decisions

MOVES: Final = ("promote", "rollback")


@dataclass(frozen=True)
class LedgerEntry:
    """A line of the ledger, never changed once written.

    Parameters
    ----------
    run_key
        Unique; the same key again finds this entry.
    action
        `promote`, `keep` or `rollback`.
    actor
        `gate`, or `user:NAME` for a decision by hand.
    challenger_version
        The version that was decided about; in Production afterwards unless the action is `keep`.
    champion_version
        The version in Production before; None where there was none.
    evidence
        The decision with all numbers, as `Decision.to_dict` gives it; what a user wrote where it was one.
    model_name
        The registered model; None in entries from before the ledger named it, which count for any model.
    digest
        Of the files of the version that a move put into Production, as registered then.
    """

    decision_id: int
    run_key: str
    action: str
    actor: str
    reason: str
    challenger_version: int | None
    champion_version: int | None
    evidence: Mapping[str, Any]
    created_at: datetime
    model_name: str | None = None
    digest: str | None = None


def read_ledger(engine: Engine, model_name: str | None = None) -> list[LedgerEntry]:
    """Read the decisions about a model, or about all models of the database, oldest first."""
    query = select(decisions) if model_name is None else select(decisions).where(about_model(model_name))
    with engine.connect() as connection:
        return [_read_entry(row) for row in connection.execute(query.order_by(decisions.c.decision_id))]


def about_model(model_name: str) -> ColumnElement[bool]:
    """Select the rows about a model; those that name none were written for whichever there was."""
    return or_(decisions.c.model_name == model_name, decisions.c.model_name.is_(None))


def find_entry(connection: Connection, run_key: str) -> LedgerEntry | None:
    """Find what was decided about a run."""
    row = connection.execute(select(decisions).where(decisions.c.run_key == run_key)).one_or_none()
    return None if row is None else _read_entry(row)


def find_decision(connection: Connection, decision_id: int) -> LedgerEntry | None:
    """Find a line by its number."""
    row = connection.execute(select(decisions).where(decisions.c.decision_id == decision_id)).one_or_none()
    return None if row is None else _read_entry(row)


def last_move(connection: Connection, model_name: str) -> LedgerEntry | None:
    """Read the last promotion or rollback of a model."""
    moves = select(decisions).where(decisions.c.action.in_(MOVES), about_model(model_name))
    row = connection.execute(moves.order_by(decisions.c.decision_id.desc()).limit(1)).one_or_none()
    return None if row is None else _read_entry(row)


def read_entries_about(connection: Connection, model_name: str, version: int) -> list[LedgerEntry]:
    """Read the decisions about a version, oldest first."""
    mine = about_model(model_name) & (decisions.c.challenger_version == version)
    rows = select(decisions).where(mine).order_by(decisions.c.decision_id)
    return [_read_entry(row) for row in connection.execute(rows)]


def add_entry(connection: Connection, row: Mapping[str, Any]) -> LedgerEntry:
    """Add a row; for `recsys.storage.promotion`, which holds the lock."""
    return _read_entry(connection.execute(insert(decisions).values(row).returning(decisions)).one())


def _read_entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(**row._mapping)
