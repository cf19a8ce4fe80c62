"""What a version carries in MLflow, so that it can be explained and rebuilt years later.

| artefact of the run | holds |
|---|---|
| `recipe.json` | snapshot, settings, seeds, code, environment, digest of every file that was fitted |
| `training.json` | rows, features, learning curves, importance |
| `evidence/per_user.parquet` | every metric of every model for every test user |
| `evidence/*.png` | learning curves, feature importance, calibration of the predicted ratings |
| `gate/` | the decision with all numbers, the distribution of the differences |
| `model_card.md` | the card |
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from recsys.evaluation.model_card import CardFacts, build_card
from recsys.evaluation.reliability import ReliabilityBin, compute_calibration_error
from recsys.evaluation.training_plots import plot_importance, plot_learning_curves, plot_reliability
from recsys.exceptions import ArtifactError, RetrainError
from recsys.gate.decision import Decision
from recsys.retrieval.standalone import select_standalone
from recsys.storage.artifacts import MANIFEST
from recsys.storage.registry import Registry
from retrain_model.context import FITTED, RetrainContext, read_inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE: Final = "recipe.json"
CARD: Final = "model_card.md"
TRAINING: Final = "training.json"
ENVIRONMENT: Final = "environment.json"
PER_USER: Final = "evidence/per_user.parquet"


def build_recipe(context: RetrainContext, snapshot_uri: str, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Write down all that a rebuild needs, and the digests that tell whether it succeeded.

    Settings and code are those of the training, whatever runs now.
    """
    begun = (read_inputs(context, "snapshot") or {}).get("attempt", context.inputs)
    trained = (read_inputs(context, "train_ranker") or {}).get("code", context.code)
    return {
        **{name: begun[name] for name in ("as_of", "preset", "seed", "text_model", "params")},
        "algorithms": [spec.algorithm for spec in select_standalone(begun["algorithms"])],
        "train_on": begun.get("train_on", "local"),
        "snapshot": snapshot_uri,
        "code": {name: trained[name] for name in ("recsys", "commit")},
        "environment": dict(environment),
        "files": {step: read_file_digests(context, step) for step in FITTED},
    }


def read_recipe(registry: Registry, version: int) -> dict[str, Any]:
    """Read what a version was made from.

    Raises
    ------
    RetrainError
        If it has no recipe that can be read.
    """
    found = registry.read_version(version)
    try:
        recipe: dict[str, Any] = json.loads(registry.read_artifact(found.run_id, RECIPE))
    except (ArtifactError, ValueError) as error:
        raise RetrainError(
            f"version {version} has no readable recipe, so that nobody knows what it was made from: {error}"
        ) from error
    return recipe


def read_file_digests(context: RetrainContext, step: str) -> dict[str, str]:
    """Read the SHA-256 of each file that a finished step published, without what only names its inputs."""
    manifest = json.loads(context.store.read_bytes(f"{context.prefix(step)}/{MANIFEST}"))
    return {
        name: str(entry["sha256"])
        for name, entry in sorted(manifest["files"].items())
        if name not in ("inputs.json", "snapshot.json", ENVIRONMENT)
    }


def to_tags(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Pick what a list of runs should be searched by."""
    environment = recipe["environment"]
    return {
        "code.version": recipe["code"]["recsys"],
        "code.commit": recipe["code"]["commit"] or "not a checkout",
        "code.lock_sha256": environment["lock"],
        "environment.python": environment["python"],
        "environment.n_threads": str(environment["n_threads"]),
        "snapshot": recipe["snapshot"],
    }


def build_evidence(
    context: RetrainContext, folder: Path, decision: Decision, training: Mapping[str, Any], *, subject: str
) -> tuple[dict[str, bytes], dict[str, "Figure"]]:
    """Build the files and figures that explain a version.

    Parameters
    ----------
    folder
        What `evaluate` published.
    training
        `training.json` of the ranker.
    subject
        The challenger's name in the tables.
    """
    summary = json.loads((folder / "evaluation.json").read_text())
    table = pd.read_parquet(folder / "per_user.parquet")
    bins = [ReliabilityBin(**found) for found in summary["reliability"][subject]]
    facts = _gather_facts(context, summary, training, compute_calibration_error(bins))
    card = build_card(facts, table, decision, subject=subject, rng=np.random.default_rng(context.seed))
    figures = {
        "evidence/learning_curves.png": plot_learning_curves(training["curves"], training["best_iterations"]),
        "evidence/feature_importance.png": plot_importance(training["importance"]),
        "evidence/rating_calibration.png": plot_reliability(bins),
    }
    return {PER_USER: (folder / "per_user.parquet").read_bytes(), CARD: card.encode()}, figures


def _gather_facts(
    context: RetrainContext, summary: Mapping[str, Any], training: Mapping[str, Any], calibration_error: float
) -> CardFacts:
    data = {
        "ratings known by": context.as_of.isoformat(),
        "snapshot (SHA-256)": summary["snapshot"],
        "training users": summary["n_training_users"],
        "test users": summary["n_test_users"],
    }
    fitted = {
        "preset": context.preset.name,
        "seed": context.seed,
        "text model": context.text_model,
        "features": training["n_features"],
        **{f"rows of the {head} head": n_rows for head, n_rows in training["n_rows"].items()},
        **{f"trees of the {head} head": kept for head, kept in training["best_iterations"].items()},
        "calibration error of the predicted ratings": f"{calibration_error:.3f}",
    }
    return CardFacts(context.registry.model_name, summary["challenger_version"], context.run_key, data, fitted)
