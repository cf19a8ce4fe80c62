"""The last steps of a retraining: gate, then promote or keep."""

import json
import tempfile
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.evaluation.plots import plot_differences
from recsys.exceptions import ChangedInputsError, RetrainError
from recsys.gate.approval import requires_approval
from recsys.gate.decision import Action, Decision, Outcome
from recsys.gate.scorecard import Scorecard
from recsys.storage.approvals import answer_request, find_request
from recsys.storage.ledger import LedgerEntry
from recsys.storage.promotion import describe_pending, record_decision
from retrain_model.attempts import find_verdict
from retrain_model.context import FITTED, RetrainContext, fetch, publish_once, read_step_digest, read_usage
from retrain_model.evidence import CARD, TRAINING, build_evidence
from retrain_model.steps.evaluation import ANCHOR, CHALLENGER, CHAMPION, POPULAR, read_evaluation


def gate(context: RetrainContext) -> dict[str, Any]:
    """Compare challenger and champion and keep the decision with its numbers and plot; nothing moves yet.

    Raises
    ------
    RetrainError
        If this run has its verdict already, under other settings of the gate.
    """
    rules = context.gate
    decided = None if context.dry_run else find_verdict(context)
    _refuse_other_rules(context, decided)
    inputs = {"evaluate": read_step_digest(context, "evaluate"), "rules": json.loads(json.dumps(asdict(rules)))}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            evaluated = fetch(context, "evaluate", Path(scratch))
            cards = _read_scorecards(evaluated)
            decision = rules.decide(cards[CHALLENGER], cards.get(CHAMPION), cards[POPULAR], anchor=cards.get(ANCHOR))
            evaluation = json.loads((evaluated / "evaluation.json").read_text())
            if unread := evaluation["unread"]:
                decision = replace(decision, reason="; ".join([decision.reason, *unread]))
            decision = _keep_newer(context, decision, evaluation)
            (folder / "decision.json").write_text(json.dumps(decision.to_dict(), indent=1))
            if not context.dry_run:
                _explain(context, decision, cards, evaluated)

    publish_once(context, "gate", inputs, build, is_settled=decided is not None)
    return read_decision(context).to_dict()


def _keep_newer(context: RetrainContext, decision: Decision, evaluation: dict[str, Any]) -> Decision:
    """Keep a champion that is the challenger itself, or was trained on the data of a later day, whatever was measured.

    A week that is run again after later ones, perhaps by another release, must not bring its old data back.
    """
    challenger, champion = evaluation["challenger_version"], evaluation["champion_version"]
    if champion is None:
        return decision
    if challenger == champion:
        reason = f"version {challenger} is already in Production"
        return replace(decision, action=Action.Keep, outcome=Outcome.AlreadyInProduction, reason=reason)
    day = _read_day(context.registry.read_version(champion).run_key)
    if day is None or day <= context.as_of:
        return decision
    reason = (
        f"version {champion} in Production was trained on data until {day}, this one until {context.as_of}; "
        "`otaku models promote` takes it all the same"
    )
    return replace(decision, action=Action.Keep, outcome=Outcome.OlderData, reason=reason)


def _read_day(run_key: str) -> date | None:
    """Read the day that a run key begins with; None where a person chose another key."""
    try:
        return date.fromisoformat(run_key[:10])
    except ValueError:
        return None


def _refuse_other_rules(context: RetrainContext, verdict: LedgerEntry | None) -> None:
    """Refuse to make a verdict again under other settings: they are set before the data are seen."""
    if verdict is None or "gate" not in verdict.evidence:
        return
    used, wanted = dict(verdict.evidence["gate"]), context.gate.to_dict()
    changed = [
        f"{name} was {used[name]:g}, is {wanted[name]:g}"
        for name in wanted
        if used.get(name, wanted[name]) != wanted[name]
    ]
    if changed:
        raise ChangedInputsError(
            f"{context.run_key} was decided under other settings of the gate ({', '.join(changed)}); "
            "restore them, or retrain another day under the new ones"
        )


def _explain(context: RetrainContext, decision: Decision, cards: dict[str, Scorecard], evaluated: Path) -> None:
    """Leave the decision in MLflow with all that explains it, and a card of the model."""
    registry = context.registry
    run_id = registry.start_run(context.run_key)
    training = json.loads(registry.read_artifact(run_id, TRAINING))
    artifacts, figures = build_evidence(context, evaluated, decision, training, subject=CHALLENGER)
    if not context.gate.generated_users:
        cards = {name: card.without_generated() for name, card in cards.items()}
    reference = cards.get(CHAMPION, cards[POPULAR]).arrange(cards[CHALLENGER].user_ids)
    differences = plot_differences(cards[CHALLENGER].ndcg, reference.ndcg, decision.criteria[0], decision=decision)
    used = read_usage(context, (*FITTED, "evaluate"))
    usage = {f"step.{step}.{name}": value for step, numbers in used.items() for name, value in numbers.items()}
    registry.log(
        run_id,
        metrics=decision.to_metrics() | usage,
        tags={"gate.action": decision.action, "gate.outcome": decision.outcome, "gate.reason": decision.reason},
        figures={"gate/differences.png": differences, **figures},
        artifacts={"gate/decision.json": json.dumps(decision.to_dict(), indent=1).encode(), **artifacts},
    )
    version = int(json.loads((evaluated / "evaluation.json").read_text())["challenger_version"])
    describe_pending(context.engine, registry, version, decision.reason, run_key=context.run_key, card=CARD)
    registry.finish_run(run_id)


def _read_scorecards(folder: Path) -> dict[str, Scorecard]:
    facts = json.loads((folder / "evaluation.json").read_text())["models"]
    table = pd.read_parquet(folder / "per_user.parquet")
    return {
        str(name): Scorecard(
            user_ids=rows[Columns.User].to_numpy(dtype=np.int64),
            ndcg=rows["ndcg_at_10"].to_numpy(dtype=np.float64),
            rating_error=None if rows["mae"].isna().all() else rows["mae"].to_numpy(dtype=np.float64),
            arrived=rows["arrived"].to_numpy(dtype=bool),
            generated=rows["generated"].to_numpy(dtype=bool),
            facts=facts[name],
        )
        for name, rows in table.groupby("model")
    }


def read_decision(context: RetrainContext) -> Decision:
    """Read what the gate of this run decided."""
    read_step_digest(context, "gate")
    return Decision.from_dict(json.loads(context.store.read_bytes(f"{context.prefix('gate')}/decision.json")))


def promote(context: RetrainContext) -> str:
    """Write the gate's yes into the ledger and move the alias; return the URI of the version.

    Raises
    ------
    RetrainError
        If the gate said no, the run was decided otherwise, or it is a dry run.
    """
    return _record(context, Action.Promote)


def keep(context: RetrainContext) -> str:
    """Write the gate's no into the ledger; return the URI of the version that was refused."""
    return _record(context, Action.Keep)


def _record(context: RetrainContext, action: Action) -> str:
    if context.dry_run:
        raise RetrainError(f"{context.run_key} is a dry run; run it without --dry-run to {action} its challenger")
    summary, decision = read_evaluation(context), read_decision(context)
    version, champion = int(summary["challenger_version"]), summary["champion_version"]
    model = f"models:/{context.registry.model_name}/{version}"
    if find_request(context.engine, context.run_key) is not None:
        _carry_out_answer(context, action)
        return model
    if decision.action is not action:
        raise RetrainError(f"the gate of {context.run_key} says {decision.action}, not {action}: {decision.reason}")
    if find_verdict(context) is None and requires_approval(decision, context.approval):
        raise RetrainError(f"{context.run_key} needs approval; run `{context.command('request_approval')}` first")
    entry = record_decision(
        context.engine, context.registry, decision, run_key=context.run_key, challenger=version, champion=champion
    )
    if entry.action != action:
        raise RetrainError(f"{context.run_key} was decided already: {entry.action} by {entry.actor}: {entry.reason}")
    return model


def _carry_out_answer(context: RetrainContext, action: Action) -> None:
    """Do what was answered, here or elsewhere before: the first answer holds."""
    answer = context.answer
    verdict = find_verdict(context)
    if verdict is None and answer is None:
        raise RetrainError(
            f"{context.run_key} waits for approval; `otaku models approve {context.run_key} --reason TEXT` promotes, "
            "`refuse` keeps"
        )
    answer_request(
        context.engine,
        context.registry,
        context.run_key,
        approve=action is Action.Promote if verdict is None else verdict.action == Action.Promote,
        responder=answer.responder if answer else None,
        reason=answer.reason if answer else "answered before",
    )
