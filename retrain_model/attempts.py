"""Attempts at the same day: what was decided about one, and in which inputs it differs from the one before."""

import json
from typing import Any

from recsys.exceptions import ArtifactError
from recsys.storage.artifacts import MANIFEST
from recsys.storage.ledger import LedgerEntry, find_entry, read_ledger
from retrain_model.context import INPUTS, ROOT, RetrainContext, list_changes


def find_verdict(context: RetrainContext) -> LedgerEntry | None:
    """Find the verdict that this attempt already has; it fixes the champion, even if another version stands by now."""
    with context.engine.connect() as connection:
        return find_entry(connection, context.run_key)


def describe_attempt(context: RetrainContext) -> str:
    """Say whether this is the first attempt of its day and model, or in which inputs it differs from the last other."""
    day, model = context.as_of.isoformat(), context.registry.model_name
    attempts = _read_attempts(context)
    own = attempts.pop(context.run_key, context.inputs)
    others = {key: inputs for key, inputs in attempts.items() if inputs["model_name"] == model}
    if not others:
        return f"first attempt of {day}"
    decided = {entry.run_key: entry.decision_id for entry in read_ledger(context.engine, model)}
    last = max(others, key=lambda key: (decided.get(key, 0), key))
    return f"another attempt of {day}: {', '.join(list_changes(others[last], own))} in {last}"


def _read_attempts(context: RetrainContext) -> dict[str, dict[str, Any]]:
    """Read the inputs of all attempts of the day that got as far as their snapshot, by run key."""
    ending = f"/snapshot/{MANIFEST}"
    found: dict[str, dict[str, Any]] = {}
    for name in context.store.list_keys(f"{ROOT}/{context.as_of.isoformat()}"):
        if name.endswith(ending):
            prefix = name.removesuffix(ending)
            try:
                inputs = json.loads(context.store.read_bytes(f"{prefix}/snapshot/{INPUTS}"))
            except (ArtifactError, ValueError):
                continue
            if "attempt" in inputs:
                found[prefix.rpartition("/")[2]] = inputs["attempt"]
    return found
