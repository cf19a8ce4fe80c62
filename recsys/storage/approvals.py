"""Promotions that wait for a person: a request for each, and the answer, which is a row of the ledger.

A request is waiting until the ledger has its run key. There is no second place that an answer is kept in, so that
Airflow, the command line and a page can offer the same request at once: the first answer holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, select
from sqlalchemy.dialects.postgresql import insert

from recsys.exceptions import RetrainError
from recsys.gate.decision import Action, Decision
from recsys.storage.database import advisory_lock
from recsys.storage.ledger import LedgerEntry, find_entry
from recsys.storage.promotion import LOCK, record_entry
from recsys.storage.registry import Registry
from recsys.storage.tables import approval_requests, decisions
from recsys.storage.version_notes import GATE


@dataclass(frozen=True)
class ApprovalRequest:
    """A promotion that the gate proposes.

    Parameters
    ----------
    decision
        As `Decision.to_dict` gives it.
    body
        What a person should know, in Markdown: lift, interval, slices, guardrails and links.
    """

    run_key: str
    model_name: str
    challenger_version: int
    champion_version: int | None
    decision: Mapping[str, Any]
    body: str
    created_at: datetime


def store_request(
    engine: Engine,
    registry: Registry,
    *,
    run_key: str,
    challenger: int,
    champion: int | None,
    decision: Decision,
    body: str,
) -> ApprovalRequest:
    """Ask for approval; the same again changes nothing, and a new comparison of the run replaces what waits."""
    row = {
        "run_key": run_key,
        "model_name": registry.model_name,
        "challenger_version": challenger,
        "champion_version": champion,
        "decision": decision.to_dict(),
        "body": body,
    }
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        statement = insert(approval_requests).values(row)
        if find_entry(connection, run_key) is None:
            changed = {name: row[name] for name in ("challenger_version", "champion_version", "decision", "body")}
            connection.execute(statement.on_conflict_do_update(index_elements=["run_key"], set_=changed))
        else:
            connection.execute(statement.on_conflict_do_nothing())
    request = find_request(engine, run_key)
    assert request is not None  # noqa: S101 - requests are never deleted
    return request


def find_request(engine: Engine, run_key: str) -> ApprovalRequest | None:
    """Find what was asked about a run, answered or not."""
    with engine.connect() as connection:
        row = connection.execute(_select().where(approval_requests.c.run_key == run_key)).one_or_none()
    return None if row is None else ApprovalRequest(**row._mapping)


def list_waiting(engine: Engine, model_name: str) -> list[ApprovalRequest]:
    """List the requests about a model that nobody answered yet, oldest first."""
    with engine.connect() as connection:
        return read_waiting(connection, model_name)


def read_waiting(connection: Connection, model_name: str) -> list[ApprovalRequest]:
    """Read what `list_waiting` lists, on a connection that is open."""
    answered = select(decisions.c.run_key)
    mine = (approval_requests.c.model_name == model_name, approval_requests.c.run_key.not_in(answered))
    rows = connection.execute(_select().where(*mine).order_by(approval_requests.c.created_at))
    return [ApprovalRequest(**row._mapping) for row in rows]


def answer_request(
    engine: Engine, registry: Registry, run_key: str, *, approve: bool, responder: str | None, reason: str
) -> LedgerEntry:
    """Carry out an answer: write it into the ledger and, where it approves, move the aliases.

    Parameters
    ----------
    responder
        Who answers; None where nobody did in time.
    reason
        Why, in a few words.

    Returns
    -------
    LedgerEntry
        What the ledger holds; that of an earlier answer if there was one.

    Raises
    ------
    RetrainError
        If nothing was asked about the run, or there is no reason.
    StaleChampionError
        If another version is in Production than the one that the challenger was compared with.
    """
    request = find_request(engine, run_key)
    if request is None or request.model_name != registry.model_name:
        waiting = ", ".join(found.run_key for found in list_waiting(engine, registry.model_name)) or "none does"
        raise RetrainError(f"run {run_key!r} does not wait for approval; those that do: {waiting}")
    if len(reason.strip()) < 3:
        raise RetrainError(f"an answer about {run_key} needs a reason in a few words")
    verb = "approved" if approve else "refused" if responder else "not approved"
    answer = {"approved": approve, "responder": responder, "reason": reason.strip()}
    return record_entry(
        engine,
        registry,
        run_key=run_key,
        action=(Action.Promote if approve else Action.Keep).value,
        actor=GATE if responder is None else f"user:{responder}",
        reason=f"{verb}: {reason.strip()}; the gate: {request.decision['reason']}",
        challenger=request.challenger_version,
        champion=request.champion_version,
        evidence={**request.decision, "approval": answer},
    )


def _select() -> Select[Any]:
    return select(*(approval_requests.c[name] for name in ApprovalRequest.__dataclass_fields__))
