"""Run a step of the weekly job for the run that a task belongs to."""

import json
from typing import Any

from airflow.sdk import Context, get_current_context

from otaku_assets import announce, is_of_this_run
from otaku_decision import log_decision
from otaku_jobs import run_job
from otaku_notify import notify
from otaku_policy import PRODUCTION_MODEL, finished_day_of_run
from otaku_references import keep_references


def run_step(name: str) -> Any:
    """Run one step of `retrain_model` for the run's day, preset and rules of the gate.

    The others are told the run key of the attempt that `snapshot` began, so that a release of the platform in the
    middle of a run does not make them look for another attempt.
    """
    context = get_current_context()
    params, begun = context["params"], name != "snapshot" and context["ti"].xcom_pull(task_ids="snapshot")
    words = ["--preset", params["preset"], "--gate", json.dumps(params["gate"])]
    words += ["--approval", params["approval"]] if params["approval"] else []
    words += ["--threads", str(params["threads"])] if params["threads"] else []
    words += ["--train-on", params["train_on"]] if params["train_on"] else []
    answer = context["ti"].xcom_pull(task_ids="approve", key="answer") if name in ("promote", "keep") else None
    if answer:
        words += ["--reason", answer["reason"], *(["--responder", answer["responder"]] if answer["responder"] else [])]
    attempt = ["--run-key", begun.split("/")[-3]] if begun else []
    dry_run = ["--dry-run"] if params["dry_run"] else []
    day = finished_day_of_run(context)
    found = run_job("retrain_model", name, "--as-of", day, *words, *attempt, *dry_run, "--references")
    keep_references(context, found)
    result = found["result"]
    if name not in ("promote", "keep"):
        return result
    made = {"is_new": result["is_new"], "changed_at": result["decided_at"]}
    mine = is_of_this_run(context, **made, was_asked=answer is not None)
    if mine:
        _notify_of_verdict(context, result)
    return _tell_of_promotion(context, result, mine) if name == "promote" else result


def decide() -> str | None:
    """Let the gate decide and return the task that follows: none in a dry run, `approve` where a person is asked."""
    context, decision = get_current_context(), run_step("gate")
    context["ti"].xcom_push(key="decision", value=decision)
    log_decision(decision)
    if context["params"]["dry_run"]:
        return None
    asked = run_step("request_approval")
    if not asked["required"]:
        return str(decision["action"])
    for key in ("subject", "body"):
        context["ti"].xcom_push(key=key, value=asked[key])
    return "approve"


def _notify_of_verdict(context: Context, done: dict[str, Any]) -> None:
    decision = context["ti"].xcom_pull(task_ids="gate", key="decision") or {}
    verdict = {"promote": "promoted", "keep": "kept the champion instead of"}[done["action"]]
    subject = f"retrain_model {verdict} {done['model']}"
    notify(context, "verdict", subject, f"{decision.get('reason', '')}\n{context['ti'].log_url}")


def _tell_of_promotion(context: Context, done: dict[str, Any], mine: bool) -> Any:
    """Update the asset where this run, and no earlier one, moved the alias."""
    n_rows = int(mine and done["action"] == "promote")
    unchanged = f"nothing moved: {done['model']} was decided before ({done['action']})"
    version = int(done["model"].rpartition("/")[2])
    told = {"model": done["model"], "version": version, "day": str(finished_day_of_run(context))}
    told["decided_at"] = done["decided_at"]
    return announce(context, PRODUCTION_MODEL, n_rows=n_rows, result=done, unchanged=unchanged, **told)
