"""Give back the space of versions and runs that nobody can need any more.

Never deleted, whatever is asked for: the versions of both aliases, every version of the last two moves in the ledger,
versions whose run is not decided yet and the champions that such runs compare with, and the highest number, which
MLflow would give out a second time. Runs keep their evidence in MLflow, snapshots and the ledger stay whole: a decision
about a deleted version can still be explained.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from recsys.exceptions import ArtifactError, DataContractError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.locks import COPYING, hold_lock
from recsys.storage.promotion import LOCK, MOVES, LedgerEntry, read_ledger
from recsys.storage.registry import ModelVersion, Registry

logger = logging.getLogger(__name__)

RUNS: Final = "retrain/"
DRY_RUNS: Final = "dry-run/"
DRY_RUN_AGE: Final = timedelta(days=1)
N_MOVES: Final = 2


@dataclass(frozen=True)
class PruningPlan:
    """What goes and what stays.

    Parameters
    ----------
    versions
        Numbers that go, ascending.
    prefixes
        Key prefixes in S3 that go, each with its slash: those of finished runs, and of dry runs without a new file for
        `DRY_RUN_AGE`, which nobody is in the middle of.
    kept
        Why each other version stays, by number.
    """

    versions: tuple[int, ...]
    prefixes: tuple[str, ...]
    kept: Mapping[int, str]


def plan_pruning(
    engine: Engine, registry: Registry, store: ArtifactStore, *, keep: int, now: datetime | None = None
) -> PruningPlan:
    """Decide what could go; deletes nothing.

    Parameters
    ----------
    keep
        Newest versions that stay beside those that can never go.
    now
        The moment that the age of dry runs is measured to; the present by default.

    Raises
    ------
    DataContractError
        If `keep` is negative.
    """
    if keep < 0:
        raise DataContractError(f"keep is {keep}; it must not be negative")
    versions, ledger = registry.list_versions(), read_ledger(engine, registry.model_name)
    run_keys = {key.removeprefix(RUNS).split("/")[0] for key in store.list_keys(RUNS)}
    decided = {entry.run_key for entry in ledger}
    kept: dict[int, str] = {}
    for number, reason in (
        *_find_protected(versions, ledger),
        *_find_compared(store, run_keys - decided),
        *((found.version, f"one of the newest {keep}") for found in versions[:keep]),
    ):
        kept.setdefault(number, reason)
    staying = {found.run_key for found in versions if found.version in kept}
    trials = _find_old_dry_runs(store, (now or datetime.now(UTC)) - DRY_RUN_AGE)
    return PruningPlan(
        versions=tuple(sorted(found.version for found in versions if found.version not in kept)),
        prefixes=(*(f"{RUNS}{key}/" for key in sorted((run_keys & decided) - staying)), *trials),
        kept={found.version: kept[found.version] for found in versions if found.version in kept},
    )


def _find_protected(versions: list[ModelVersion], ledger: list[LedgerEntry]) -> Iterator[tuple[int, str]]:
    """Name the versions that can never go, with the reason."""
    for found in versions:
        if found.aliases:
            yield found.version, f"carries the alias {' and '.join(found.aliases)}"
    moves = [entry for entry in ledger if entry.action in MOVES][-N_MOVES:]
    for number in {number for entry in moves for number in (entry.challenger_version, entry.champion_version)}:
        if number is not None:
            yield number, "was part of the last two moves of Production"
    decided = {entry.run_key for entry in ledger}
    by_hand = {entry.challenger_version for entry in ledger}
    for found in versions:
        if found.run_key not in decided and found.version not in by_hand:
            yield found.version, f"its run {found.run_key} is not decided yet"
    if versions:
        yield versions[0].version, "has the highest number"


def _find_compared(store: ArtifactStore, unfinished: set[str]) -> Iterator[tuple[int, str]]:
    """Name the champions of runs that are not decided yet."""
    for run_key in sorted(unfinished):
        try:
            summary = json.loads(store.read_bytes(f"{RUNS}{run_key}/evaluate/evaluation.json"))
        except ArtifactError:
            continue
        if summary["champion_version"] is not None:
            yield int(summary["champion_version"]), f"run {run_key} compares with it"


def _find_old_dry_runs(store: ArtifactStore, limit: datetime) -> list[str]:
    """List the prefixes of dry runs that wrote nothing since then."""
    newest: dict[str, datetime] = {}
    for stored in store.list_objects(DRY_RUNS):
        run = "/".join(stored.key.split("/")[:2]) + "/"
        newest[run] = max(stored.written_at, newest.get(run, stored.written_at))
    return sorted(run for run, written_at in newest.items() if written_at < limit)


def prune(
    engine: Engine,
    registry: Registry,
    store: ArtifactStore,
    *,
    keep: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PruningPlan:
    """Delete what a plan made under the lock of promotions names, and return that plan; killed, it can run again.

    It waits for the end of a backup, which copies what could be deleted here.

    Parameters
    ----------
    on_progress
        Called with versions and runs deleted, and their number in total.
    """
    with hold_lock(engine, COPYING), hold_lock(engine, LOCK):
        plan = plan_pruning(engine, registry, store, keep=keep)
        n_things = len(plan.versions) + len(plan.prefixes)
        for done, number in enumerate(plan.versions, start=1):
            registry.delete_version(number)
            logger.info("version %s is deleted", number)
            on_progress(done, n_things)
        for done, prefix in enumerate(plan.prefixes, start=len(plan.versions) + 1):
            store.delete_prefix(prefix)
            logger.info("%s is deleted", prefix)
            on_progress(done, n_things)
    return plan
