"""What every step needs, and how a step's output is published once."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine
from threadpoolctl import threadpool_limits

from recsys.exceptions import ArtifactError, ChangedInputsError, RetrainError
from recsys.gate.approval import Approval
from recsys.gate.gate import PromotionGate
from recsys.memory import release_memory
from recsys.progress import OnProgress, ignore_progress
from recsys.ranking.params import Preset
from recsys.revision import describe_code
from recsys.settings import Settings
from recsys.storage.artifacts import MANIFEST, ArtifactStore
from recsys.storage.locks import hold_lock
from recsys.storage.registry import Registry
from recsys.usage import measure_usage
from retrain_model.days import now_utc
from retrain_model.environment import compute_lock_hash

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
# One more where a person is asked; the decision and all that follows is then made by whoever answers.
APPROVAL_POINT: Final = "approval requested"
INPUTS = "inputs.json"
USAGE: Final = ".usage.json"
ROOT = "retrain"
DRY_RUNS: Final = "dry-run"
# Steps whose files a rebuild must give again, and that no other code may go on with.
FITTED: Final = ("snapshot", "embed_text", "fit_retrieval", "train_ranker")
_DIGEST_LENGTH: Final = 8


def _describe_code() -> dict[str, str | None]:
    return {**describe_code(), "lock": compute_lock_hash()}


@dataclass(frozen=True)
class Answer:
    """An answer to a request for approval; `responder` is None where nobody answered in time."""

    responder: str | None
    reason: str


@dataclass(frozen=True)
class RetrainContext:
    """One attempt at a retraining: its key, its services and its sources of chance and time.

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
    cluster
        Settings by which workers of a Dask cluster fit, train and evaluate; None for this process alone.
    code
        Version, revision and locked packages of the code that runs.
    attempt
        Run key of an attempt to go on with; by default that of the inputs given here.
    approval
        Which promotions wait for a person.
    answer
        What a person answered, for the step that carries it out.
    dry_run
        Write below `dry-run/` alone: no table, alias, run or version.
    clock
        Tells the present moment, in UTC.
    place
        Key prefix of all output in S3; by default `retrain/<run key>`, or `dry-run/<run key>`.
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
    code: Mapping[str, str | None] = field(default_factory=_describe_code)
    attempt: str | None = None
    approval: Approval = Approval.Never
    answer: Answer | None = None
    dry_run: bool = False
    clock: Callable[[], datetime] = now_utc
    place: str | None = None
    algorithms: tuple[str, ...] | None = ()
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cluster: Settings | None = None

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that a challenger depends on beside the data, JSON-ready."""
        described = {
            "model_name": self.registry.model_name,
            "as_of": self.as_of.isoformat(),
            "preset": asdict(self.preset),
            "seed": self.seed,
            "n_threads": self.n_threads,
            "text_model": self.text_model,
            "algorithms": self.algorithms,
            "params": {name: dict(values) for name, values in self.params.items()},
            "code": dict(self.code),
        }
        return dict(json.loads(json.dumps(described | self.train_on)))

    @property
    def train_on(self) -> dict[str, Any]:
        """What a step's inputs say of where it computes: nothing of this process alone, since sums round otherwise."""
        if self.cluster is None:
            return {}
        n_workers = self.cluster.dask_workers
        return {"train_on": "dask"} | ({} if n_workers is None else {"dask_workers": n_workers})

    @property
    def run_key(self) -> str:
        """Name of this attempt: the day, the preset where it is not the default, and the digest of the inputs.

        The same inputs find the attempt again; a patch release or another setting is another attempt of the day.
        """
        return self.attempt or self.own_key

    @cached_property
    def own_key(self) -> str:
        """The run key of the inputs given here."""
        suffix = "" if self.preset.name == "default" else f"-{self.preset.name}"
        digest = hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode()).hexdigest()
        return f"{self.as_of.isoformat()}{suffix}-{digest[:_DIGEST_LENGTH]}"

    def command(self, step: str) -> str:
        """Spell the command that runs one step of this retraining."""
        preset = "" if self.preset.name == "default" else f" --preset {self.preset.name}"
        attempt = f" --run-key {self.attempt}" if self.attempt else ""
        dry_run = " --dry-run" if self.dry_run else ""
        return f"python -m retrain_model {step} --as-of {self.as_of.isoformat()}{preset}{attempt}{dry_run}"

    def prefix(self, step: str) -> str:
        """Key prefix of a step's output in S3."""
        root = DRY_RUNS if self.dry_run else ROOT
        return f"{self.place or f'{root}/{self.run_key}'}/{step}"


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


def publish_once(
    context: RetrainContext,
    step: str,
    inputs: Mapping[str, Any],
    build: Callable[[Path], None],
    *,
    is_settled: bool = False,
) -> str:
    """Run a step unless it has already been run on the same inputs; return the URI of its output.

    Killed at any instant it leaves no manifest and is built anew. Run twice at the same time, one waits for the other.

    Parameters
    ----------
    inputs
        All that the output depends on, JSON-ready; the code is added.
    build
        Writes the output files into a folder.
    is_settled
        What is there stays, whatever the inputs are: the ledger has the verdict that it led to.

    Raises
    ------
    ChangedInputsError
        If the attempt was begun with other inputs and would have to be fitted anew.
    """
    prefix = context.prefix(step)
    wanted = {"code": dict(context.code), **inputs}
    with hold_lock(context.engine, prefix):
        stored = read_inputs(context, step)
        if stored is not None and (is_settled or stored == wanted):
            log.info("%s of %s is already there", step, context.run_key)
            return context.store.uri(f"{prefix}/")
        if step in FITTED:
            _refuse_other_inputs(context)
        with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
            # Threads of OpenBLAS wait for each other in busy loops: beside another process a small system of equations
            # takes a hundred times as long on two as on one. Users and folds are what the steps divide among threads.
            with threadpool_limits({"blas": 1, "openmp": context.n_threads}), measure_usage() as usage:
                try:
                    build(Path(folder))
                finally:
                    release_memory()
            (Path(folder) / INPUTS).write_text(json.dumps(wanted, indent=1, sort_keys=True))
            context.store.delete_prefix(f"{prefix}/")
            # Beside the output, whose digest must not depend on it.
            context.store.write_bytes(f"{prefix}{USAGE}", json.dumps(asdict(usage)).encode())
            return context.store.write_directory(prefix, Path(folder))


def read_usage(context: RetrainContext, steps: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read what finished steps took, by step: `seconds`, `cpu_seconds` and `peak_mib` of `recsys.usage.Usage`."""
    keys = {step: f"{context.prefix(step)}{USAGE}" for step in steps}
    return {step: json.loads(context.store.read_bytes(key)) for step, key in keys.items() if context.store.exists(key)}


def read_inputs(context: RetrainContext, step: str) -> dict[str, Any] | None:
    """Read the inputs of a finished step; None if it has not finished."""
    prefix = context.prefix(step)
    if not context.store.exists(f"{prefix}/{MANIFEST}"):
        return None
    try:
        stored: dict[str, Any] = json.loads(context.store.read_bytes(f"{prefix}/{INPUTS}"))
    except (ArtifactError, ValueError):
        return None
    return stored


def _refuse_other_inputs(context: RetrainContext) -> None:
    if context.run_key == context.own_key:
        return
    begun = (read_inputs(context, "snapshot") or {}).get("attempt", {})
    changes = ", ".join(list_changes(begun, context.inputs)) or "it has no snapshot"
    raise ChangedInputsError(
        f"{context.run_key} was begun with other inputs ({changes}); run its steps from `snapshot` on again, which "
        f"makes the attempt {context.own_key}"
    )


def list_changes(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Say which inputs of two attempts differ, by their names with dots."""
    changes: list[str] = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += list_changes(old, new, f"{path}{name}.")
        elif old != new:
            changes.append(f"{path}{name} is {new}, was {old}")
    return changes


def fetch(context: RetrainContext, step: str, folder: Path) -> Path:
    """Fetch the output of an earlier step into a subfolder named after it, digests checked."""
    target = folder / step
    target.mkdir(parents=True, exist_ok=True)
    context.store.read_directory(context.prefix(step), target)
    return target
