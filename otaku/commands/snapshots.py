"""`otaku snapshots`: the frozen data that versions were trained on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from recsys.storage.artifacts import ArtifactStore
    from recsys.storage.snapshot_catalog import SnapshotEntry, TableDifference
    from recsys.storage.snapshots import Snapshot

app = typer.Typer(help="The snapshots that retrainings learn from.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
_NAME_HELP = "First digits of the digest, or the key of a retraining, such as 2026-01-11."
Name = Annotated[str, typer.Argument(help=_NAME_HELP, metavar="SNAPSHOT")]


def _open_store() -> "ArtifactStore":
    from otaku.console import running_settings
    from recsys.connections import open_store

    return open_store(running_settings())


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the snapshots, newest first, with the retrainings that froze them."""
    from rich.table import Table

    from otaku.console import console
    from recsys.storage.snapshot_catalog import SHORT_DIGEST, list_snapshots

    entries = list_snapshots(_open_store())
    if as_json:
        typer.echo(json.dumps([_describe(entry) for entry in entries], indent=2))
        return
    if not entries:
        console.print("There is no snapshot yet; `otaku ingest DIRECTORY` and every retraining write one.")
        return
    table = Table("digest", "written (UTC)", "MB", "retrainings")
    for entry in entries:
        size = f"{entry.size / 1e6:.1f}"
        table.add_row(
            entry.digest[:SHORT_DIGEST], f"{entry.written_at:%Y-%m-%d %H:%M}", size, ", ".join(entry.run_keys)
        )
    console.print(table)


@app.command("show")
def show(snapshot: Name, as_json: AsJson = False) -> None:
    """Read one snapshot, check its digest, and count what it holds."""
    from rich.table import Table

    from otaku.console import console
    from recsys.storage.snapshot_catalog import find_snapshot, load_entry

    store = _open_store()
    entry = find_snapshot(store, snapshot)
    described = {**_describe(entry), **_count(load_entry(store, entry))}
    if as_json:
        typer.echo(json.dumps(described, indent=2))
        return
    table = Table("", "", show_header=False)
    for name, value in described.items():
        table.add_row(name.replace("_", " "), _format(value))
    console.print(table)


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help=_NAME_HELP)],
    after: Annotated[str, typer.Argument(help="The same for the later one.")],
    limit: Annotated[int, typer.Option(min=0, help="Keys to show of each kind.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show which rows were added, removed and changed between two snapshots."""
    from rich.table import Table

    from otaku.console import console
    from recsys.storage.snapshot_catalog import SHORT_DIGEST, compare_snapshots, find_snapshot, load_entry

    store = _open_store()
    entries = find_snapshot(store, before), find_snapshot(store, after)
    first, second = (load_entry(store, entry) for entry in entries)
    differences = compare_snapshots(first, second)
    if as_json:
        found = {name: _shorten(difference, limit) for name, difference in differences.items()}
        typer.echo(json.dumps({"before": entries[0].digest, "after": entries[1].digest, **found}, indent=2))
        return
    title = " → ".join(entry.digest[:SHORT_DIGEST] for entry in entries)
    table = Table("table", "added", "removed", "changed", "columns", title=title)
    for name, difference in differences.items():
        columns = ", ".join(f"{column} {n:,}" for column, n in difference.columns.items())
        counts = [f"{len(keys):,}" for keys in (difference.added, difference.removed, difference.changed)]
        table.add_row(name.replace("_", " "), *counts, columns)
    console.print(table)
    for name, difference in differences.items():
        for kind in ("added", "removed", "changed"):
            if keys := getattr(difference, kind)[:limit]:
                console.print(f"{name.replace('_', ' ')} {kind}: {', '.join(map(str, keys))}", soft_wrap=True)


@app.command("restore")
def restore(
    snapshot: Name,
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
) -> None:
    """Write a snapshot as files that `otaku ingest` and `otaku evaluate --data` read; they are read back to check."""
    from otaku.console import console
    from recsys.storage.snapshot_catalog import SHORT_DIGEST, find_snapshot, load_entry, restore_snapshot

    store = _open_store()
    entry = find_snapshot(store, snapshot)
    files = restore_snapshot(load_entry(store, entry), directory)
    names = ", ".join(path.name for path in files)
    console.print(f"Snapshot {entry.digest[:SHORT_DIGEST]} is in {directory}: {names}.", soft_wrap=True)


def _describe(entry: "SnapshotEntry") -> dict[str, Any]:
    return {**asdict(entry), "written_at": entry.written_at.isoformat(), "run_keys": list(entry.run_keys)}


def _count(snapshot: "Snapshot") -> dict[str, Any]:
    from recsys.columns import Columns

    days = snapshot.users[Columns.ArrivedOn].dropna()
    statuses = snapshot.statuses.table[Columns.Status].value_counts()
    return {
        "items": len(snapshot.catalog),
        "users": len(snapshot.users),
        "users_arrived": len(days),
        "last_arrival": str(days.max()) if len(days) else None,
        "ratings": len(snapshot.interactions),
        "mean_rating": round(float(snapshot.interactions.table[Columns.Rating].mean()), 4),
        "watch_statuses": {str(name): int(n) for name, n in statuses.items() if n},
    }


def _format(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {n:,}" for name, n in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value or "-")


def _shorten(difference: "TableDifference", limit: int) -> dict[str, Any]:
    kinds = {kind: list(getattr(difference, kind)) for kind in ("added", "removed", "changed")}
    return {
        **{f"n_{kind}": len(keys) for kind, keys in kinds.items()},
        **{kind: keys[:limit] for kind, keys in kinds.items()},
        "columns": dict(difference.columns),
    }
