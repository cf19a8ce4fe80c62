"""The steps in sequence, for a laptop, a pod or a user."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from recsys.connections import open_engine, open_registry, open_store
from recsys.ranking.params import get_preset
from recsys.settings import Settings, load_settings
from recsys.storage.database import migrate
from retrain_model import steps
from retrain_model.context import Progress, RetrainContext, ignore_progress

log = logging.getLogger(__name__)


@contextmanager
def open_context(
    as_of: date,
    preset: str = "default",
    *,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
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
            preset=get_preset(preset),
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


def retrain(context: RetrainContext, *, dry_run: bool = False) -> RetrainReport:
    """Run all steps; a dry run trains and judges but leaves alias and ledger alone."""
    for name in steps.STEPS:
        log.info("%s: %s", context.run_key, name)
        getattr(steps, name)(context)
    decision = steps.gate(context)
    action = "none" if dry_run else str(decision["action"])
    if not dry_run:
        (steps.promote if action == "promote" else steps.keep)(context)
    return RetrainReport(context.run_key, action, decision, steps.read_evaluation(context))
