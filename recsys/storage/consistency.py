"""Compare what MLflow shows with what the ledger says."""

from sqlalchemy import Engine

from recsys.storage.promotion import LedgerEntry, read_ledger
from recsys.storage.registry import PREVIOUS, PRODUCTION, ModelVersion, Registry
from recsys.storage.version_notes import CARD_TAG, build_tags, describe_version


def find_inconsistencies(engine: Engine, registry: Registry) -> list[str]:
    """Compare aliases, tags, descriptions and the metric `gate_promote` of all versions with the ledger.

    A version that was deleted has nothing to show, so that it is compared only as the one in Production; a version
    without any decision may say what its run is about to decide.

    Returns
    -------
    list of str
        One sentence for each difference; empty if there is none, and while the ledger is empty.
    """
    ledger = read_ledger(engine, registry.model_name)
    versions = {found.version: found for found in registry.list_versions()}
    differences = _compare_aliases(registry, ledger, set(versions))
    for number, found in sorted(versions.items()):
        entries = [entry for entry in ledger if entry.challenger_version == number]
        if entries:
            differences += _compare_notes(found, entries) + _compare_run(registry, found, entries)
    return differences


def _compare_aliases(registry: Registry, ledger: list[LedgerEntry], existing: set[int]) -> list[str]:
    moves = [entry for entry in ledger if entry.action != "keep"]
    if not moves:
        return []
    production, previous = moves[-1].challenger_version, moves[-1].champion_version
    wanted = {PRODUCTION: production, PREVIOUS: previous if previous in existing else None}
    shown = {alias: registry.alias_version(alias) for alias in wanted} if existing else dict.fromkeys(wanted)
    return [
        f"alias {alias} is at version {shown[alias]}, by the ledger at {version}"
        for alias, version in wanted.items()
        if shown[alias] != version
    ]


def _compare_notes(found: ModelVersion, entries: list[LedgerEntry]) -> list[str]:
    differences = [
        f"version {found.version} has {name} = {found.tags.get(name)!r}, by the ledger {value!r}"
        for name, value in build_tags(entries).items()
        if found.tags.get(name) != value
    ]
    if found.description != describe_version(entries, found.tags.get(CARD_TAG)):
        differences.append(f"the description of version {found.version} is not that of the ledger")
    return differences


def _compare_run(registry: Registry, found: ModelVersion, entries: list[LedgerEntry]) -> list[str]:
    evaluated = [entry for entry in entries if "outcome" in entry.evidence and entry.run_key == found.run_key]
    if not evaluated:
        return []
    # What the gate decided, which a person may have refused.
    wanted = float(evaluated[-1].evidence["action"] == "promote")
    shown = registry.read_metrics(found.run_id).get("gate_promote")
    if shown is None or shown == wanted:
        return []
    return [f"the run of version {found.version} shows gate_promote = {shown:g}, by the ledger {wanted:g}"]
