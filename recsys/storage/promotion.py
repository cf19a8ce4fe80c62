"""Which version is in Production, and since when and why: the ledger in PostgreSQL, the alias in MLflow.

The ledger is the truth and is written first; the aliases `production` and `previous` follow from it. A process that
dies between the two leaves an alias that lags behind, which `reconcile` puts right at the start of the next retraining,
promotion or rollback. Decisions are serialised by an advisory lock and compare the champion that they were made
against with the one that stands, so that the ledger is one linear history however many decide at once.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine

from recsys.exceptions import (
    NoProductionModelError,
    RetrainError,
    StaleChampionError,
    UnknownVersionError,
)
from recsys.gate.decision import Decision
from recsys.storage.aliases import move_aliases
from recsys.storage.database import advisory_lock
from recsys.storage.ledger import (
    MOVES,
    LedgerEntry,
    add_entry,
    find_entry,
    last_move,
    read_entries_about,
    read_ledger,
)
from recsys.storage.registry import Registry
from recsys.storage.version_notes import CARD_TAG, GATE, build_tags, describe_version

LOCK: Final = "promotion"

__all__ = [
    "LOCK",
    "MOVES",
    "LedgerEntry",
    "complete_all",
    "describe_pending",
    "promote",
    "read_ledger",
    "read_production_version",
    "reconcile",
    "record_decision",
    "record_entry",
    "roll_back",
]

logger = logging.getLogger(__name__)


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
        If the decision promotes the champion over itself, or the run has a verdict about another version.
    UnknownVersionError
        If the decision promotes a version that was deleted.
    """
    return record_entry(
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
    return record_entry(
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


def _check_target(registry: Registry, version: int, champion: int | None) -> str:
    """Return the digest of the version that is to be in Production."""
    found = registry.read_version(version)
    if version == champion:
        raise RetrainError(f"version {version} is in Production already")
    return found.digest


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
        earlier = find_entry(connection, run_key)
        last = last_move(connection, registry.model_name)
    if earlier is not None:
        return _complete(engine, registry, earlier)
    if last is None or last.champion_version is None:
        raise NoProductionModelError("no version was in Production before the present one; nothing to roll back to")
    if not registry.has_version(last.champion_version):
        raise UnknownVersionError(
            f"version {last.champion_version}, which was in Production before, was deleted from the registry; put "
            "another one into Production with `otaku models promote VERSION --reason TEXT`"
        )
    return record_entry(
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
        return _follow(registry, last_move(connection, registry.model_name))


def complete_all(engine: Engine, registry: Registry) -> int | None:
    """Carry out what the ledger says about every version, for a registry that may lag behind it in anything.

    Returns
    -------
    int or None
        The version in Production; raises as `reconcile`.
    """
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        production = _follow(registry, last_move(connection, registry.model_name))
        for found in registry.list_versions():
            if read_entries_about(connection, registry.model_name, found.version):
                _annotate(connection, registry, found.version)
    return production


def _follow(registry: Registry, last: LedgerEntry | None) -> int | None:
    """Let the aliases follow the last move."""
    if last is None or last.challenger_version is None:
        return registry.production_version()
    move_aliases(registry, last.challenger_version, last.champion_version)
    return last.challenger_version


def read_production_version(engine: Engine, registry: Registry) -> int | None:
    """Read the version in Production: by the ledger, or by the alias while the ledger is empty; moves nothing."""
    with engine.connect() as connection:
        last = last_move(connection, registry.model_name)
    return registry.production_version() if last is None else last.challenger_version


def record_entry(
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
    """Write a row of the ledger unless its run key has one, and let the aliases follow; raises as `record_decision`."""
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        entry = find_entry(connection, run_key)
        if entry is None:
            digest = _check_target(registry, challenger, champion) if action in MOVES else None
            last = last_move(connection, registry.model_name)
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
                "model_name": registry.model_name,
                "digest": digest,
            }
            entry = add_entry(connection, row)
        elif entry.challenger_version != challenger:
            raise RetrainError(
                f"{run_key!r} was decided about version {entry.challenger_version}, not about version {challenger}; "
                "nothing was changed"
            )
    return _complete(engine, registry, entry)


def _complete(engine: Engine, registry: Registry, entry: LedgerEntry) -> LedgerEntry:
    """Carry out what the ledger says; doing it again changes nothing."""
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        _follow(registry, last_move(connection, registry.model_name))
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
    entries = read_entries_about(connection, registry.model_name, version)
    changed = {name: value for name, value in build_tags(entries).items() if found.tags.get(name) != value}
    registry.annotate(version, changed, describe_version(entries, found.tags.get(CARD_TAG)))


def describe_pending(engine: Engine, registry: Registry, version: int, reason: str, *, run_key: str, card: str) -> None:
    """Name the model card of a version and, until the ledger has the decision of a run, the gate's reason."""
    with engine.begin() as connection, advisory_lock(connection, LOCK):
        entries = read_entries_about(connection, registry.model_name, version)
        decided = any(entry.run_key == run_key for entry in entries)
        text = describe_version(entries, card, pending=None if decided else reason)
        registry.annotate(version, {CARD_TAG: card}, text)
