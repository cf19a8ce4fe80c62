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
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select

from recsys.exceptions import NoProductionModelError, RetrainError, StaleChampionError
from recsys.gate.decision import Decision
from recsys.storage.database import advisory_lock
from recsys.storage.registry import PREVIOUS, PRODUCTION, Registry
from recsys.storage.tables import decisions

GATE = "gate"
# Tag of a version: the name of its model card among the artefacts of its run.
CARD_TAG = "otaku.model_card"

LOCK = "promotion"
MOVES = ("promote", "rollback")

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
    NoProductionModelError
        If there is no such version.
    RetrainError
        If the version is in Production already.
    """
    registry.read_version(version)
    if version == champion:
        raise RetrainError(f"version {version} is in Production already")
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


def roll_back(engine: Engine, registry: Registry, *, run_key: str, actor: str, reason: str) -> LedgerEntry:
    """Put the version back that was in Production before; once more, and the newer one is back.

    Raises
    ------
    NoProductionModelError
        If no version was in Production before the present one.
    """
    with engine.connect() as connection:
        earlier = _find_entry(connection, run_key)
        last = _last_move(connection)
    if earlier is not None:
        return _complete(engine, registry, earlier)
    if last is None or last.champion_version is None:
        raise NoProductionModelError("no version was in Production before the present one; nothing to roll back to")
    registry.read_version(last.champion_version)
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

    A registry whose ledger is empty keeps its alias: whoever put it there did so before there was a ledger.
    """
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        last = _last_move(connection)
        if last is None:
            return registry.production_version()
        # Production last: whoever sees it moved can rely on `previous` too.
        for alias, version in ((PREVIOUS, last.champion_version), (PRODUCTION, last.challenger_version)):
            if registry.alias_version(alias) != version:
                logger.info("alias %s moves to version %s", alias, version)
                registry.point_alias(alias, version)
        return last.challenger_version


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
            last = _last_move(connection)
            standing = registry.production_version() if last is None else last.challenger_version
            if standing != champion:
                raise StaleChampionError(
                    f"decision {run_key!r} was made against version {champion}, but version {standing} is in "
                    "Production by now; compare with that one"
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
    reconcile(engine, registry)
    if entry.challenger_version is not None:
        card = registry.read_version(entry.challenger_version).tags.get(CARD_TAG)
        registry.annotate(entry.challenger_version, _to_tags(entry), describe_version(entry.reason, card))
    return entry


def describe_version(reason: str, card: str | None) -> str:
    """Say in one line what was decided about a version, and where its card lies if it has one."""
    return reason if card is None else f"{reason}\n\nModel card: {card} among the artefacts of its run."


def _to_tags(entry: LedgerEntry) -> dict[str, str]:
    tags = {
        "decision.action": entry.action,
        "decision.actor": entry.actor,
        "decision.run_key": entry.run_key,
        "decision.champion": str(entry.champion_version or ""),
        "decision.at": entry.created_at.isoformat(timespec="seconds"),
    }
    if entry.actor == GATE:
        decision = Decision.from_dict(entry.evidence)
        tags["decision.outcome"] = decision.outcome.value
        tags |= {f"decision.{name}": f"{value:.6g}" for name, value in decision.to_metrics().items()}
    return tags


def _find_entry(connection: Connection, run_key: str) -> LedgerEntry | None:
    row = connection.execute(select(decisions).where(decisions.c.run_key == run_key)).one_or_none()
    return None if row is None else _read_entry(row)


def _last_move(connection: Connection) -> LedgerEntry | None:
    moves = select(decisions).where(decisions.c.action.in_(MOVES))
    row = connection.execute(moves.order_by(decisions.c.decision_id.desc()).limit(1)).one_or_none()
    return None if row is None else _read_entry(row)


def _read_entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(**row._mapping)
