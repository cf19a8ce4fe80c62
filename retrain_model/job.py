"""Run a retraining, whole or one step of it, without Airflow."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, Final

from pydantic import ValidationError

from recsys.connections import open_engine, open_registry, open_store
from recsys.exceptions import ConfigurationError
from recsys.gate.approval import Approval
from recsys.gate.decision import Action
from recsys.gate.gate import PromotionGate
from recsys.gate.guardrails import GuardrailLimits
from recsys.progress import OnProgress, ignore_progress, track_stage
from recsys.ranking.params import Preset, get_preset
from recsys.retrieval.standalone import select_standalone
from recsys.settings import Settings, load_settings
from recsys.storage.migration import migrate
from recsys.storage.schema_state import require_schema
from retrain_model import steps
from retrain_model.attempts import find_verdict
from retrain_model.context import Answer, RetrainContext, read_usage

log = logging.getLogger(__name__)

PREFIX: Final = "gate_"


def parse_rules(text: str) -> dict[str, float]:
    """Read settings of the gate from JSON.

    Raises
    ------
    ConfigurationError
        If the text is no object of numbers by name.
    """
    try:
        rules = json.loads(text)
    except ValueError:
        rules = None
    if not isinstance(rules, dict):
        raise ConfigurationError(f'the settings of the gate are {text!r}; write an object such as {{"margin": 0.02}}')
    return rules


def build_gate(settings: Settings, changes: Mapping[str, float] | None = None) -> PromotionGate:
    """Set the rules of the gate.

    Parameters
    ----------
    settings
        Those whose names begin with `gate_` are read.
    changes
        What this run sets otherwise, by the same names without `gate_`.

    Raises
    ------
    ConfigurationError
        If a change has an unknown name or a value out of bounds.
    """
    known = {
        name.removeprefix(PREFIX): value for name, value in settings.model_dump().items() if name.startswith(PREFIX)
    }
    changes = changes or {}
    if unknown := sorted(set(changes) - set(known)):
        raise ConfigurationError(f"the gate has no setting {', '.join(unknown)}; choose among {', '.join(known)}")
    try:
        checked = Settings.model_validate(
            settings.model_dump() | {f"{PREFIX}{name}": changes[name] for name in changes}
        )
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        name = str(found["loc"][0]).removeprefix(PREFIX)
        raise ConfigurationError(f"gate setting {name} is {found['input']!r}: {found['msg']}") from None
    rules = {name: getattr(checked, f"{PREFIX}{name}") for name in known}
    limits = {item.name: rules.pop(item.name) for item in fields(GuardrailLimits) if item.name in rules}
    return PromotionGate(**rules, limits=GuardrailLimits(**limits))


def build_params(settings: Settings) -> dict[str, dict[str, Any]]:
    """Take the hyper-parameters of models from the settings."""
    params: dict[str, dict[str, Any]] = {}
    if settings.hybrid_weights is not None:
        names = ("user_weight", "title_weight", "content_weight")
        params["hybrid"] = dict(zip(names, settings.hybrid_weights, strict=True))
    if settings.mf_min_ratings is not None:
        params["mf"] = {"min_ratings": settings.mf_min_ratings}
    return params


def build_preset(name: str, settings: Settings) -> Preset:
    """Look a preset up and put what the settings say in its place.

    Raises
    ------
    ConfigurationError
        Names the presets that exist.
    """
    preset = get_preset(name)
    return replace(
        preset,
        dropped_rating=settings.dropped_rating,
        losses=settings.relevance_losses or preset.losses,
        n_boosters=settings.relevance_boosters or preset.n_boosters,
    )


@contextmanager
def open_context(
    as_of: date,
    preset: str = "default",
    *,
    settings: Settings | None = None,
    progress: OnProgress = ignore_progress,
    gate: Mapping[str, float] | None = None,
    run_key: str | None = None,
    approval: str | None = None,
    answer: Answer | None = None,
    n_threads: int | None = None,
    train_on: str | None = None,
    dry_run: bool = False,
) -> Iterator[RetrainContext]:
    """Connect to the services and yield what the steps need.

    Parameters
    ----------
    gate
        Settings of the gate for this run, by name; the others come from `settings`.
    run_key
        Of an attempt to go on with; by default that of the present code and settings.
    approval
        Which promotions wait for a person: none, always or if_close; by default as in `settings`.
    answer
        What a person answered, for `promote` or `keep`.
    n_threads
        Threads of this run; by default as in `settings`.
    train_on
        `local` or `dask`, for this run; by default as in `settings`.
    dry_run
        Write below `dry-run/` of the bucket alone, and apply no migration.

    Raises
    ------
    ConfigurationError
        Names a service whose setting is missing, an unknown preset or algorithm, or a wrong setting of the gate.
    """
    settings = settings or load_settings()
    rules = build_gate(settings, gate)
    select_standalone(settings.algorithms)
    registry, store = open_registry(settings), open_store(settings)
    with open_engine(settings) as engine:
        (require_schema if dry_run else migrate)(engine)
        store.ensure_bucket()
        yield RetrainContext(
            as_of=as_of,
            preset=build_preset(preset, settings),
            engine=engine,
            store=store,
            registry=registry,
            text_model=settings.text_model,
            n_threads=n_threads or settings.train_threads,
            progress=progress,
            gate=rules,
            algorithms=settings.algorithms,
            params=build_params(settings),
            attempt=_check_run_key(run_key, as_of),
            approval=Approval(settings.approval if approval is None else approval),
            answer=answer,
            dry_run=dry_run,
            cluster=settings if (train_on or settings.train_on) == "dask" else None,
        )


def _check_run_key(run_key: str | None, as_of: date) -> str | None:
    if run_key is not None and not run_key.startswith(f"{as_of.isoformat()}-"):
        raise ConfigurationError(f"{run_key!r} is no attempt of {as_of}; its run keys begin with {as_of}-")
    return run_key


@dataclass(frozen=True)
class RetrainReport:
    """What a retraining ended with.

    Parameters
    ----------
    action
        What happened: `promote`, `keep`, `wait` for approval, or `none` in a dry run.
    usage
        Seconds, seconds of processors and peak of memory of each step, as `read_usage` gives them.
    """

    run_key: str
    action: str
    decision: dict[str, Any]
    evaluation: dict[str, Any]
    usage: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "run_key": self.run_key,
            "action": self.action,
            "decision": self.decision,
            "evaluation": self.evaluation,
            "usage": self.usage,
        }


def run_step(context: RetrainContext, name: str) -> Any:
    """Run one step by its name and return what it returns: a URI, or the decision of `gate`.

    Of `promote` and `keep` a mapping is returned: the URI of the `model`, the `action` that the ledger holds, when it
    was decided (`decided_at`), and whether by this call (`is_new`).
    """
    with track_stage(context.progress, f"{name} of {context.run_key}"):
        if name in (Action.Promote, Action.Keep):
            is_new = find_verdict(context) is None
            model, entry = getattr(steps, name)(context), find_verdict(context)
            assert entry is not None  # noqa: S101 - both steps write it or raise
            decided_at = entry.created_at.isoformat()
            return {"model": model, "action": entry.action, "is_new": is_new, "decided_at": decided_at}
        try:
            return getattr(steps, name)(context)
        except Exception:
            _mark_failed(context)
            raise


def _mark_failed(context: RetrainContext) -> None:
    """Let MLflow show that the run failed, if it was started; a service that is down must not hide the first error."""
    if context.dry_run:
        return
    try:
        context.registry.fail_run(context.run_key)
    except Exception as error:  # noqa: BLE001 - the error of the step matters
        log.warning("the run of %s could not be marked as failed: %s", context.run_key, error)


def retrain(context: RetrainContext, *, dry_run: bool = False) -> RetrainReport:
    """Run all steps; a dry run trains and evaluates, and writes nothing outside `dry-run/` of the bucket."""
    context = replace(context, dry_run=dry_run or context.dry_run)
    for name in steps.STEPS:
        run_step(context, name)
    decision = steps.gate(context)
    action = "none"
    if not context.dry_run:
        is_waiting = run_step(context, "request_approval")["required"]
        action = "wait" if is_waiting else str(run_step(context, str(decision["action"]))["action"])
    return RetrainReport(
        context.run_key, action, decision, steps.read_evaluation(context), read_usage(context, steps.STEPS)
    )
