"""Run a retraining, whole or one step of it, without Airflow."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, Final

from pydantic import ValidationError

from recsys.connections import open_engine, open_registry, open_store
from recsys.exceptions import ConfigurationError
from recsys.gate.gate import PromotionGate
from recsys.gate.guardrails import GuardrailLimits
from recsys.progress import OnProgress, ignore_progress, track_stage
from recsys.ranking.params import get_preset
from recsys.retrieval.standalone import select_standalone
from recsys.settings import Settings, load_settings
from recsys.storage.database import migrate
from retrain_model import steps
from retrain_model.context import RetrainContext

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
    if settings.hybrid_weights is None:
        return {}
    names = ("user_weight", "title_weight", "content_weight")
    return {"hybrid": dict(zip(names, settings.hybrid_weights, strict=True))}


@contextmanager
def open_context(
    as_of: date,
    preset: str = "default",
    *,
    settings: Settings | None = None,
    progress: OnProgress = ignore_progress,
    gate: Mapping[str, float] | None = None,
) -> Iterator[RetrainContext]:
    """Connect to the services and yield what the steps need.

    Parameters
    ----------
    gate
        Settings of the gate for this run, by name; the others come from `settings`.

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
        migrate(engine)
        store.ensure_bucket()
        yield RetrainContext(
            as_of=as_of,
            preset=replace(get_preset(preset), dropped_rating=settings.dropped_rating),
            engine=engine,
            store=store,
            registry=registry,
            text_model=settings.text_model,
            progress=progress,
            gate=rules,
            algorithms=settings.algorithms,
            params=build_params(settings),
        )


@dataclass(frozen=True)
class RetrainReport:
    """What a retraining ended with; `action` is what happened, which a dry run leaves at "none"."""

    run_key: str
    action: str
    decision: dict[str, Any]
    evaluation: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "run_key": self.run_key,
            "action": self.action,
            "decision": self.decision,
            "evaluation": self.evaluation,
        }


def run_step(context: RetrainContext, name: str) -> Any:
    """Run one step by its name and return what it returns: a URI, or the decision of `gate`."""
    with track_stage(context.progress, f"{name} of {context.run_key}"):
        return getattr(steps, name)(context)


def retrain(context: RetrainContext, *, dry_run: bool = False) -> RetrainReport:
    """Run all steps; a dry run trains and evaluates but leaves alias and ledger alone."""
    for name in steps.STEPS:
        run_step(context, name)
    decision = steps.gate(context)
    action = "none" if dry_run else str(decision["action"])
    if not dry_run:
        run_step(context, action)
    return RetrainReport(context.run_key, action, decision, steps.read_evaluation(context))
