"""`python -m retrain_model [STEP] --as-of DAY`: the weekly job, whole or one step of it, without Airflow."""

import json
import sys
from collections.abc import Sequence
from functools import partial

from recsys.jobs import call_job, run_main
from retrain_model.options import (
    AnswerReason,
    ApprovalMode,
    AsOf,
    DryRun,
    Gate,
    Preset,
    Responder,
    RunKey,
    Step,
    Threads,
    TrainOn,
    WithReferences,
)

PROG = "retrain_model"


def retrain_model(
    as_of: AsOf,
    step: Step = None,
    preset: Preset = "default",
    gate: Gate = "{}",
    run_key: RunKey = None,
    approval: ApprovalMode = None,
    responder: Responder = None,
    reason: AnswerReason = None,
    threads: Threads = None,
    train_on: TrainOn = None,
    references: WithReferences = False,
    dry_run: DryRun = False,
) -> object:
    """Train a challenger on the data as of a day, evaluate it, and promote it if it passes the gate."""
    from recsys.progress import log_progress
    from retrain_model.context import Answer
    from retrain_model.job import open_context, parse_rules, retrain, run_step
    from retrain_model.references import describe_references

    rules = parse_rules(gate)
    answer = None if reason is None else Answer(responder, reason)
    with (
        log_progress() as on_progress,
        open_context(
            as_of.date(),
            preset,
            progress=on_progress,
            gate=rules,
            run_key=run_key,
            approval=approval,
            answer=answer,
            n_threads=threads,
            train_on=train_on,
            dry_run=dry_run,
        ) as context,
    ):
        if step is None:
            return retrain(context).to_dict()
        result = run_step(context, step)
        return {"result": result, **describe_references(context, step).to_dict()} if references else result


def run(arguments: Sequence[str] | None = None) -> object:
    """Run the job or one step of it and return its result, JSON-ready; wrong usage exits with 2."""
    return call_job(retrain_model, arguments, prog=f"python -m {PROG}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence, 2 wrong usage, 99 nothing was ingested yet."""
    return run_main(retrain_model, arguments, prog=PROG, show=partial(json.dumps, indent=1))


if __name__ == "__main__":
    sys.exit(main())
