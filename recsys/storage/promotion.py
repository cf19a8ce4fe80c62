"""Which version is in Production, and since when and why: the ledger in PostgreSQL, the alias in MLflow.

The ledger is the truth and is written first; the aliases `production` and `previous` follow from it. A process that
dies between the two leaves an alias that lags behind, which `reconcile` puts right at the start of the next retraining,
promotion or rollback. Decisions are serialised by an advisory lock and compare the champion that they were made
against with the one that stands, so that the ledger is one linear history however many decide at once.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, insert, select

from recsys.exceptions import (
    NoProductionModelError,
    RetrainError,
    StaleChampionError,
    UnknownVersionError,
)
from recsys.gate.decision import Decision
from recsys.storage.aliases import move_aliases
from recsys.storage.database import advisory_lock
from recsys.storage.registry import Registry
from recsys.storage.tables import decisions
from recsys.storage.version_notes import CARD_TAG, GATE, build_tags, describe_version

LOCK: Final = "promotion"
MOVES: Final = ("promote", "rollback")

logger = logging.getLogger(__name__)


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


def record_decision(
    engine: Engine, registry: Registry, decision: Decision, *, run_key: str, challenger: int, champion: int | None
) -> LedgerEntry:
    """Write a verdict of the gate into the ledger and, if it promotes, move the aliases.

    Parameters
    ----------
    run_key
        The key of the retraining; a rerun finds the first verdict and completes what it left undone.
    challenger, champion
        The versions that were compared.

    Raises
    ------
    StaleChampionError
        If `champion` is no longer in Production: the comparison has to be made again.
    RetrainError
        If the decision promotes the champion over itself.
    UnknownVersionError
        If the decision promotes a version that was deleted.
    """
    return _record(
        engine,
        registry,
        run_key=run_key,
        action=decision.action.value,
        actor=GATE,
        reason=decision.reason,
        challenger=challenger,
        champion=champion,
        evidence=decision.to_dict(),
    )


def promote(
    engine: Engine,
    registry: Registry,
    version: int,
    *,
    run_key: str,
    champion: int | None,
    actor: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
) -> LedgerEntry:
    """Put a version into Production.

    Raises
    ------
    StaleChampionError
        If `champion` is not the version in Production.
    UnknownVersionError
        If there is no such version.
    RetrainError
        If the version is in Production already.
    """
    return _record(
        engine,
        registry,
        run_key=run_key,
        action="promote",
        actor=actor,
        reason=reason,
        challenger=version,
        champion=champion,
        evidence=evidence or {},
    )


def _check_target(registry: Registry, version: int, champion: int | None) -> None:
    registry.read_version(version)
    if version == champion:
        raise RetrainError(f"version {version} is in Production already")


def roll_back(engine: Engine, registry: Registry, *, run_key: str, actor: str, reason: str) -> LedgerEntry:
    """Put the version back that was in Production before; once more, and the newer one is back.

    Raises
    ------
    NoProductionModelError
        If no version was in Production before the present one.
    UnknownVersionError
        If that version was deleted from the registry; nothing is written then.
    """
    with engine.connect() as connection:
        earlier = _find_entry(connection, run_key)
        last = _last_move(connection)
    if earlier is not None:
        return _complete(engine, registry, earlier)
    if last is None or last.champion_version is None:
        raise NoProductionModelError("no version was in Production before the present one; nothing to roll back to")
    if not registry.has_version(last.champion_version):
        raise UnknownVersionError(
            f"version {last.champion_version}, which was in Production before, was deleted from the registry; put "
            "another one into Production with `otaku models promote VERSION --reason TEXT`"
        )
    return _record(
        engine,
        registry,
        run_key=run_key,
        action="rollback",
        actor=actor,
        reason=reason,
        challenger=last.champion_version,
        champion=last.challenger_version,
        evidence={},
    )


def reconcile(engine: Engine, registry: Registry) -> int | None:
    """Move the aliases to where the ledger says they belong and return the version in Production.

    A registry whose ledger is empty keeps its alias: whoever put it there did so before there was a ledger. The alias
    `challenger` is removed when another version takes over, since it named a candidate against the former champion.

    Raises
    ------
    MissingProductionVersionError
        If the version in Production was deleted from the registry.
    """
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        return _follow(registry, _last_move(connection))


def _follow(registry: Registry, last: LedgerEntry | None) -> int | None:
    """Let the aliases follow the last move."""
    if last is None or last.challenger_version is None:
        return registry.production_version()
    move_aliases(registry, last.challenger_version, last.champion_version)
    return last.challenger_version


def read_production_version(engine: Engine, registry: Registry) -> int | None:
    """Read the version in Production: by the ledger, or by the alias while the ledger is empty; moves nothing."""
    with engine.connect() as connection:
        last = _last_move(connection)
    return registry.production_version() if last is None else last.challenger_version


def read_ledger(engine: Engine) -> list[LedgerEntry]:
    """Read all decisions, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(select(decisions).order_by(decisions.c.decision_id))
        return [_read_entry(row) for row in rows]


def _record(
    engine: Engine,
    registry: Registry,
    *,
    run_key: str,
    action: str,
    actor: str,
    reason: str,
    challenger: int,
    champion: int | None,
    evidence: Mapping[str, Any],
) -> LedgerEntry:
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        entry = _find_entry(connection, run_key)
        if entry is None:
            if action in MOVES:
                _check_target(registry, challenger, champion)
            last = _last_move(connection)
            standing = registry.production_version() if last is None else last.challenger_version
            if standing != champion:
                raise StaleChampionError(
                    f"decision {run_key!r} was made against version {champion}, but version {standing} is in "
                    "Production by now; run the steps from `evaluate` on again to compare with that one"
                )
            row = {
                "run_key": run_key,
                "action": action,
                "actor": actor,
                "reason": reason,
                "challenger_version": challenger,
                "champion_version": champion,
                "evidence": dict(evidence),
            }
            entry = _read_entry(connection.execute(insert(decisions).values(row).returning(decisions)).one())
    return _complete(engine, registry, entry)


def _complete(engine: Engine, registry: Registry, entry: LedgerEntry) -> LedgerEntry:
    """Carry out what the ledger says; doing it again changes nothing."""
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        _follow(registry, _last_move(connection))
        if entry.challenger_version is not None:
            _annotate(connection, registry, entry.challenger_version)
    return entry


def _annotate(connection: Connection, registry: Registry, version: int) -> None:
    """Let a version say what the ledger knows about it; one that was deleted says nothing."""
    try:
        found = registry.read_version(version)
    except UnknownVersionError:
        logger.warning("version %d was deleted from the registry; its decisions are in the ledger alone", version)
        return
    entries = _read_entries_about(connection, version)
    changed = {name: value for name, value in build_tags(entries).items() if found.tags.get(name) != value}
    registry.annotate(version, changed, describe_version(entries, found.tags.get(CARD_TAG)))


def describe_pending(engine: Engine, registry: Registry, version: int, reason: str, *, run_key: str, card: str) -> None:
    """Name the model card of a version and, until the ledger has the decision of a run, the gate's reason."""
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        entries = _read_entries_about(connection, version)
        decided = any(entry.run_key == run_key for entry in entries)
        text = describe_version(entries, card, pending=None if decided else reason)
        registry.annotate(version, {CARD_TAG: card}, text)


def _read_entries_about(connection: Connection, version: int) -> list[LedgerEntry]:
    rows = select(decisions).where(decisions.c.challenger_version == version).order_by(decisions.c.decision_id)
    return [_read_entry(row) for row in connection.execute(rows)]


def _find_entry(connection: Connection, run_key: str) -> LedgerEntry | None:
    row = connection.execute(select(decisions).where(decisions.c.run_key == run_key)).one_or_none()
    return None if row is None else _read_entry(row)


def _last_move(connection: Connection) -> LedgerEntry | None:
    moves = select(decisions).where(decisions.c.action.in_(MOVES))
    row = connection.execute(moves.order_by(decisions.c.decision_id.desc()).limit(1)).one_or_none()
    return None if row is None else _read_entry(row)


def _read_entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(**row._mapping)
