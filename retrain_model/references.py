"""What a step of a retraining read and wrote, and where to look at it."""

import logging
from typing import Any

from recsys.exceptions import ArtifactError, RecsysError
from recsys.storage.artifacts import MANIFEST
from recsys.storage.lineage import Dataset, References, name_tables, name_uri, name_version
from recsys.storage.tables import decisions, items, ratings, users, watch_statuses
from retrain_model import steps
from retrain_model.context import RetrainContext, read_inputs

SNAPSHOT, RUN, VERSION = "Snapshot", "MLflow run", "Model version"

log = logging.getLogger(__name__)


def describe_references(context: RetrainContext, name: str) -> References:
    """Build the references of a finished step; none if a service is away, since the step itself is done."""
    try:
        return build_references(context, name)
    except RecsysError as error:
        log.warning("%s of %s has no links: %s", name, context.run_key, error)
        return References()


def build_references(context: RetrainContext, name: str) -> References:
    """Build the references of a finished step; what a dry run left out is left out here."""
    step = "gate" if name == "request_approval" else name
    frozen = _find_snapshot(context)
    version = _find_version(context) if step in ("evaluate", "gate", "promote", "keep") else None
    inputs, outputs = _name_data(context, step, frozen)
    links = {SNAPSHOT: context.store.presign(f"{context.store.key(frozen)}{MANIFEST}")} if frozen else {}
    if version is not None:
        found = context.registry.read_version(version)
        links |= {RUN: context.registry.run_url(found.run_id), VERSION: context.registry.version_url(version)}
        named = name_version(context.registry.tracking_uri, context.registry.model_name, version)
        if step in ("evaluate", "promote"):
            outputs = (*outputs, named)
        else:
            inputs = (*inputs, named)
    return References(links, inputs, outputs)


def _name_data(
    context: RetrainContext, step: str, frozen: str | None
) -> tuple[tuple[Dataset, ...], tuple[Dataset, ...]]:
    """Name what the step read and wrote: tables, the snapshot, and the output of steps."""

    def published(other: str) -> Dataset:
        return name_uri(context.store.uri(context.prefix(other)))

    data = (name_uri(frozen),) if frozen else ()
    if step == "snapshot":
        return name_tables(context.engine, (items, users, ratings, watch_statuses)), data
    if step in ("promote", "keep"):
        return (published("gate"),), () if context.dry_run else name_tables(context.engine, (decisions,))
    # What a step published names the digests of what it was made from.
    made_from = [other for other in steps.STEPS if other in (read_inputs(context, step) or {}) and other != "snapshot"]
    return (*data, *map(published, made_from)), (published(step),)


def _find_snapshot(context: RetrainContext) -> str | None:
    try:
        return steps.find_snapshot_uri(context)
    except ArtifactError:
        return None


def _find_version(context: RetrainContext) -> int | None:
    """Find the version that the run registered; a dry run registers none."""
    found: Any = None if context.dry_run else steps.read_evaluation(context)["challenger_version"]
    return None if found is None else int(found)
