"""The step between the gate and a promotion that a person has to approve."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from recsys.evaluation.approval_body import build_approval_body
from recsys.gate.approval import requires_approval
from recsys.storage.approvals import ApprovalRequest, find_request, store_request
from retrain_model.attempts import find_verdict
from retrain_model.context import RetrainContext, fetch
from retrain_model.steps.decision import read_decision
from retrain_model.steps.evaluation import CHALLENGER, CHAMPION, POPULAR, read_evaluation


def request_approval(context: RetrainContext) -> dict[str, Any]:
    """Ask for approval where the settings require it, once; return `required`, and `subject` and `body` to show.

    Nothing is required of a dry run, of a decision to keep, and where the run has its verdict already.
    """
    decision = read_decision(context)
    if context.dry_run or find_verdict(context) is not None:
        return {"required": False}
    if not requires_approval(decision, context.approval):
        return {"required": False}
    request = _ask(context)
    subject = f"Promote version {request.challenger_version} of {request.model_name} ({request.run_key})?"
    return {"required": True, "subject": subject, "body": request.body}


def _ask(context: RetrainContext) -> ApprovalRequest:
    summary, decision, registry = read_evaluation(context), read_decision(context), context.registry
    challenger = int(summary["challenger_version"])
    known = find_request(context.engine, context.run_key)
    if known is not None and (known.challenger_version, known.champion_version, known.decision) == (
        challenger,
        summary["champion_version"],
        decision.to_dict(),
    ):
        return known
    with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
        table = pd.read_parquet(fetch(context, "evaluate", Path(scratch)) / "per_user.parquet")
    reference = CHAMPION if CHAMPION in set(table["model"]) else POPULAR
    links = {
        "run with plots and model card": registry.run_url(registry.read_version(challenger).run_id),
        "version": registry.version_url(challenger),
        "metrics of every user": context.store.uri(f"{context.prefix('evaluate')}/per_user.parquet"),
    }
    return store_request(
        context.engine,
        registry,
        run_key=context.run_key,
        challenger=challenger,
        champion=summary["champion_version"],
        decision=decision,
        body=build_approval_body(decision, table, challenger=CHALLENGER, reference=reference, links=links),
    )
