"""Run a retraining, whole or one step of it, without Airflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from recsys.connections import open_engine, open_registry, open_store
from recsys.progress import OnProgress, ignore_progress, track_stage
from recsys.ranking.params import get_preset
from recsys.settings import Settings, load_settings
from recsys.storage.database import migrate
from retrain_model import steps
from retrain_model.context import RetrainContext


@contextmanager
def open_context(
    as_of: date,
    preset: str = "default",
    *,
    settings: Settings | None = None,
    progress: OnProgress = ignore_progress,
) -> Iterator[RetrainContext]:
    """Connect to the services and yield what the steps need.

    Raises
    ------
    ConfigurationError
        Names a service whose setting is missing, or a preset that does not exist.
    """
    settings = settings or load_settings()
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
