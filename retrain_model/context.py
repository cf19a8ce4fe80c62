"""What every step needs, and how a step's output is published once."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

import recsys
from recsys.exceptions import ArtifactError, RetrainError
from recsys.gate.gate import PromotionGate
from recsys.progress import OnProgress, ignore_progress
from recsys.ranking.params import Preset
from recsys.storage.artifacts import MANIFEST, ArtifactStore
from recsys.storage.locks import hold_lock
from recsys.storage.registry import Registry

log = logging.getLogger(__name__)

# All that a retraining makes durable, in this order. Killed after any of them, a rerun finds what is there and adds the
# rest; the tests kill it after each one and compare this list with what a run really writes.
COMMIT_POINTS: Final = (
    "data frozen",
    "snapshot published",
    "text vectors kept",
    "embed_text published",
    "fit_retrieval published",
    "train_ranker published",
    "run created",
    "model place created",
    "model files stored",
    "version registered",
    "evaluate published",
    "version described",
    "run finished",
    "gate published",
    "decision written",
    "production moved",
    "previous moved",
    "decision shown",
)
INPUTS = "inputs.json"
ROOT = "retrain"


@dataclass(frozen=True)
class RetrainContext:
    """One retraining: its key, its services and its sources of chance and time.

    Parameters
    ----------
    as_of
        Last day, inclusive, whose arrivals are known to the model.
    seed
        Seeds every fit.
    n_threads
        Threads of LightGBM and of the cross-fitting; the result does not depend on when threads run.
    gate
        Rules of the promotion, set before the data are seen.
    algorithms
        Standalone models that are fitted and stored with the version; None for all.
    params
        Hyper-parameters of standalone models that replace the defaults, by model and name.
    place
        Key prefix of all output in S3; by default `retrain/<run key>`.
    """

    as_of: date
    preset: Preset
    engine: Engine
    store: ArtifactStore
    registry: Registry
    text_model: str
    seed: int = 0
    n_threads: int = 2
    progress: OnProgress = ignore_progress
    gate: PromotionGate = field(default_factory=PromotionGate)
    place: str | None = None
    algorithms: tuple[str, ...] | None = ()
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def run_key(self) -> str:
        """Name of this retraining: the day, and the preset where it is not the default."""
        suffix = "" if self.preset.name == "default" else f"-{self.preset.name}"
        return f"{self.as_of.isoformat()}{suffix}"

    def command(self, step: str) -> str:
        """Spell the command that runs one step of this retraining."""
        preset = "" if self.preset.name == "default" else f" --preset {self.preset.name}"
        return f"python -m retrain_model {step} --as-of {self.as_of.isoformat()}{preset}"

    def prefix(self, step: str) -> str:
        """Key prefix of a step's output in S3."""
        return f"{self.place or f'{ROOT}/{self.run_key}'}/{step}"


def read_step_digest(context: RetrainContext, step: str) -> str:
    """Read the digest of what a finished step published.

    Raises
    ------
    RetrainError
        If the step has not finished; names the command that runs it.
    """
    try:
        manifest = context.store.read_bytes(f"{context.prefix(step)}/{MANIFEST}")
    except ArtifactError as error:
        raise RetrainError(
            f"step {step!r} of {context.run_key} has no finished output; run `{context.command(step)}` first"
        ) from error
    return hashlib.sha256(manifest).hexdigest()


def publish_once(context: RetrainContext, step: str, inputs: Mapping[str, Any], build: Callable[[Path], None]) -> str:
    """Run a step unless it has already been run on the same inputs; return the URI of its output.

    Killed at any instant it leaves no manifest and is built anew. Run twice at the same time, one waits for the other.

    Parameters
    ----------
    inputs
        All that the output depends on, JSON-ready; the version of this package is added.
    build
        Writes the output files into a folder.
    """
    prefix = context.prefix(step)
    wanted = {"recsys": recsys.__version__, **inputs}
    with hold_lock(context.engine, prefix):
        if _stored_inputs(context.store, prefix) == wanted:
            log.info("%s of %s is already there", step, context.run_key)
            return context.store.uri(f"{prefix}/")
        with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
            build(Path(folder))
            (Path(folder) / INPUTS).write_text(json.dumps(wanted, indent=1, sort_keys=True))
            context.store.delete_prefix(f"{prefix}/")
            return context.store.write_directory(prefix, Path(folder))


def _stored_inputs(store: ArtifactStore, prefix: str) -> dict[str, Any] | None:
    """Read the inputs of a finished step; None if it has not finished."""
    if not store.exists(f"{prefix}/{MANIFEST}"):
        return None
    try:
        stored: dict[str, Any] = json.loads(store.read_bytes(f"{prefix}/{INPUTS}"))
    except (ArtifactError, ValueError):
        return None
    return stored


def fetch(context: RetrainContext, step: str, folder: Path) -> Path:
    """Fetch the output of an earlier step into a subfolder named after it, digests checked."""
    target = folder / step
    target.mkdir(parents=True, exist_ok=True)
    context.store.read_directory(context.prefix(step), target)
    return target
