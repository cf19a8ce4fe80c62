"""`otaku models`: which versions there are, which one answers, why, and how to change that."""

import getpass
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from recsys.storage.promotion import LedgerEntry
    from recsys.storage.registry import ModelVersion, Registry

app = typer.Typer(help="The registry of models and the ledger of decisions.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the ledger for ever.")]
By = Annotated[str | None, typer.Option(help="Who decides; by default the name of the account.")]


@contextmanager
def open_ledger() -> Iterator[tuple["Engine", "Registry"]]:
    """Connect to the ledger and to the registry of the running platform."""
    from otaku.console import running_settings
    from recsys.connections import open_engine, open_registry

    settings = running_settings()
    with open_engine(settings) as engine:
        yield engine, open_registry(settings)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the versions, newest first, and the decisions, oldest first."""
    from rich.markup import escape
    from rich.table import Table

    from otaku.console import console
    from recsys.storage.promotion import read_ledger

    with open_ledger() as (engine, registry):
        versions, ledger = registry.list_versions(), read_ledger(engine, registry.model_name)
    if as_json:
        found = {
            "versions": [_describe(version) for version in versions],
            "ledger": [_to_json(line) for line in ledger],
        }
        typer.echo(json.dumps(found, indent=2))
        return
    if not versions:
        console.print("There is no model yet; `otaku retrain --as-of DAY` makes one.")
        return
    table = Table("version", "alias", "run key", "created (UTC)", "NDCG@10", "decision", title=registry.model_name)
    for version in versions:
        table.add_row(*_row(version))
    console.print(table)
    history = Table("when (UTC)", "who", "decision", "version", "in Production before", "reason", title="ledger")
    for line in ledger:
        before = "-" if line.champion_version is None else str(line.champion_version)
        when = f"{line.created_at:%Y-%m-%d %H:%M}"
        who, why = escape(line.actor), escape(line.reason)
        history.add_row(when, who, line.action, str(line.challenger_version or "-"), before, why)
    if ledger:
        console.print(history)


@app.command("show")
def show_model(
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")], as_json: AsJson = False
) -> None:
    """Show one version with every decision about it and the numbers behind."""
    from rich.markup import escape
    from rich.table import Table

    from otaku.console import console
    from recsys.storage.promotion import read_ledger

    with open_ledger() as (engine, registry):
        found = registry.read_version(version)
        metrics = _read_metrics(registry, found.run_id)
        lines = read_ledger(engine, registry.model_name)
        ledger = [line for line in lines if version in (line.challenger_version, line.champion_version)]
    if as_json:
        typer.echo(
            json.dumps(
                {**_describe(found), "metrics": metrics, "ledger": [_to_json(line) for line in ledger]}, indent=2
            )
        )
        return
    table = Table("", "", title=f"{registry.model_name} {version}", show_header=False)
    for name, value in _describe(found).items():
        if name != "tags":
            table.add_row(name.replace("_", " "), escape(", ".join(value) if isinstance(value, list) else str(value)))
    for name, text in sorted(found.tags.items()):
        table.add_row(name, escape(text))
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}")
    console.print(table)
    for line in ledger:
        who = escape(line.actor)
        console.print(f"{line.created_at:%Y-%m-%d %H:%M} {who}: {line.action} {line.challenger_version}")
        console.print(f"  {escape(line.reason)}", soft_wrap=True)
        for guardrail in line.evidence.get("guardrails", []):
            console.print(f"  {'passed' if guardrail['passed'] else 'FAILED'}: {guardrail['sentence']}", soft_wrap=True)


def _read_metrics(registry: "Registry", run_id: str) -> dict[str, float]:
    """Read what the run of a version measured of it, by metric."""
    prefix = "challenger."
    measured = registry.read_metrics(run_id) if run_id else {}
    return {name.removeprefix(prefix): value for name, value in sorted(measured.items()) if name.startswith(prefix)}


@app.command("promote")
def promote_model(
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")], reason: Reason, by: By = None
) -> None:
    """Put a version into Production by hand, past the gate; the service swaps within seconds."""
    from otaku.console import console
    from recsys.storage.promotion import promote, read_production_version

    with open_ledger() as (engine, registry):
        champion = read_production_version(engine, registry)
        promote(
            engine,
            registry,
            version,
            run_key=_manual_key(),
            champion=champion,
            actor=f"user:{name_user(by)}",
            reason=check_reason(reason),
            evidence={"manual": True},
        )
    before = "nothing" if champion is None else f"version {champion}"
    console.print(f"Version {version} is in Production; before it was {before}.")


@app.command("rollback")
def roll_back_model(reason: Reason, by: By = None) -> None:
    """Put the version back that was in Production before; once more, and the newer one is back."""
    from otaku.console import console
    from recsys.storage.promotion import roll_back

    with open_ledger() as (engine, registry):
        line = roll_back(
            engine, registry, run_key=_manual_key(), actor=f"user:{name_user(by)}", reason=check_reason(reason)
        )
    console.print(f"Version {line.challenger_version} is in Production again; version {line.champion_version} is out.")


@app.command("reproduce")
def reproduce_model(
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")], as_json: AsJson = False
) -> None:
    """Rebuild a version from its snapshot, settings and seeds, and compare its predictions; nothing is registered.

    Exit code 1 if they are not identical.
    """
    from otaku.console import console, running_settings, show_progress
    from retrain_model.job import open_context
    from retrain_model.reproduce import reproduce

    # The day and the preset come from the version; what is given here is not looked at.
    day = datetime.now(UTC).date()
    with (
        show_progress() as on_progress,
        open_context(day, settings=running_settings(), progress=on_progress) as context,
    ):
        found = reproduce(context, version)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        verdict = "identical" if found.identical else f"NOT identical, by up to {found.largest_difference:.3g}"
        console.print(f"Version {version} rebuilt: predictions for {found.n_users} users are {verdict}.")
        for difference in found.differences:
            console.print(f"  {difference}", soft_wrap=True)
    if not found.identical:
        raise typer.Exit(1)


@app.command("prune")
def prune_models(
    keep: Annotated[int, typer.Option(min=0, help="Newest versions to keep beside those that can never go.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Delete old versions and the files of their runs; never one that is, was or may soon be in Production."""
    from otaku.console import console, running_settings
    from recsys.connections import open_store
    from recsys.storage.promotion import reconcile
    from recsys.storage.retention import plan_pruning, prune

    with open_ledger() as (engine, registry):
        if not dry_run:
            # The aliases say what must stay; a crash may have left them behind the ledger.
            reconcile(engine, registry)
        act = plan_pruning if dry_run else prune
        plan = act(engine, registry, open_store(running_settings()), keep=keep)
    for version, reason in plan.kept.items():
        console.print(f"version {version} stays: {reason}", soft_wrap=True)
    verb = "would go" if dry_run else "is deleted"
    for name in (*(f"version {version}" for version in plan.versions), *plan.prefixes):
        console.print(f"{name} {verb}", soft_wrap=True)
    if not plan.versions and not plan.prefixes:
        console.print("There is nothing to delete.")


def _manual_key() -> str:
    return f"manual-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def name_user(by: str | None) -> str:
    """Return who decides: as given, or the name of the account."""
    return by or getpass.getuser()


def check_reason(reason: str) -> str:
    """Return a reason without blanks around it; one of fewer than 3 characters is wrong usage."""
    if len(reason.strip()) < 3:
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    return reason.strip()


def _describe(version: "ModelVersion") -> dict[str, Any]:
    described = asdict(version)
    created = datetime.fromtimestamp(described.pop("created_ms") / 1000, UTC)
    return {**described, "aliases": list(version.aliases), "created_at": created.isoformat(timespec="seconds")}


def _row(version: "ModelVersion") -> list[str]:
    created = datetime.fromtimestamp(version.created_ms / 1000, UTC)
    return [
        str(version.version),
        ", ".join(version.aliases),
        version.run_key,
        f"{created:%Y-%m-%d %H:%M}",
        version.tags.get("metric.ndcg_at_10", "-"),
        version.tags.get("decision.action", "undecided"),
    ]


def _to_json(line: "LedgerEntry") -> dict[str, Any]:
    return {**asdict(line), "created_at": line.created_at.isoformat(timespec="seconds")}
