"""`otaku models approve` and `refuse`: the last word about promotions that wait for a person."""

from typing import TYPE_CHECKING, Annotated

import typer

from otaku.commands import models
from otaku.commands.models import By, Reason, check_reason, name_user, open_ledger

if TYPE_CHECKING:
    from recsys.storage.ledger import LedgerEntry

app = models.app

RunKey = Annotated[str, typer.Argument(metavar="RUN", help="Run key, as otaku models waiting shows it.")]


@app.command("waiting")
def list_waiting_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show the promotions that wait for approval, with lift, slices, guardrails and links."""
    import json
    from dataclasses import asdict

    from rich.markdown import Markdown

    from otaku.console import console
    from recsys.storage.approvals import list_waiting

    with open_ledger() as (engine, registry):
        waiting = list_waiting(engine, registry.model_name)
    if as_json:
        found = [{**asdict(request), "created_at": request.created_at.isoformat()} for request in waiting]
        typer.echo(json.dumps(found, indent=2))
        return
    for request in waiting:
        console.rule(f"[bold]{request.run_key}[/]: version {request.challenger_version}", align="left")
        console.print(Markdown(request.body))
    if not waiting:
        console.print("No promotion waits for approval.")


@app.command("approve")
def approve_model(run: RunKey, reason: Reason, by: By = None) -> None:
    """Approve the promotion that a retraining proposes; the service swaps within seconds."""
    _tell(_answer(run, reason, by, approve=True))


@app.command("refuse")
def refuse_model(run: RunKey, reason: Reason, by: By = None) -> None:
    """Refuse the promotion that a retraining proposes; the version in Production stays."""
    _tell(_answer(run, reason, by, approve=False))


def _answer(run: str, reason: str, by: str | None, *, approve: bool) -> "LedgerEntry":
    from recsys.exceptions import RetrainError
    from recsys.storage.approvals import answer_request

    with open_ledger() as (engine, registry):
        entry = answer_request(
            engine, registry, run, approve=approve, responder=name_user(by), reason=check_reason(reason)
        )
    if (entry.action == "promote") is not approve:
        raise RetrainError(f"{run} was answered before: {entry.action} by {entry.actor}: {entry.reason}")
    _tell_airflow(run, reason, approve=approve)
    return entry


def _tell_airflow(run: str, reason: str, *, approve: bool) -> None:
    """Let the run of Airflow that waits for this answer go on; without one, or if it is away, the ledger says all."""
    import asyncio

    from app.pages.ops.scheduler import Scheduler
    from otaku.console import running_settings
    from otaku.platform.airflow import add_login

    scheduler = Scheduler.build(add_login(running_settings()))
    asyncio.run(scheduler.answer_approval(run, approve=approve, reason=reason))


def _tell(entry: "LedgerEntry") -> None:
    from otaku.console import console

    if entry.action == "promote":
        console.print(f"Version {entry.challenger_version} is in Production.")
    else:
        standing = "nothing" if entry.champion_version is None else f"version {entry.champion_version}"
        console.print(f"Version {entry.challenger_version} is refused; {standing} stays in Production.")
