"""`otaku ledger`, `arrivals`, `quarantine` and `drift list`: everything that happened."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows to show, the newest first.")]
Since = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day, in UTC.")]
Action = Literal["promote", "keep", "rollback"]
MAX_TEXT: Final = 100


@contextmanager
def _connect() -> Iterator["Connection"]:
    from otaku.console import running_settings
    from recsys.connections import open_engine
    from recsys.storage.schema_state import require_schema

    with open_engine(running_settings()) as engine:
        require_schema(engine)
        with engine.connect() as connection:
            yield connection


def _to_day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def ledger(
    action: Annotated[Action | None, typer.Option(help="Only promotions, refusals or rollbacks.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only decisions about this version.")] = None,
    since: Since = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show the decisions about versions: who decided what, when and why."""
    from otaku.console import running_settings
    from recsys.storage.history import read_decisions

    name = running_settings().model_name
    with _connect() as connection:
        rows = read_decisions(connection, name, action=action, version=version, since=_to_day(since), limit=limit)
    columns = ("created_at", "run_key", "action", "challenger_version", "champion_version", "actor", "reason")
    _show(rows, columns, as_json=as_json, empty=f"No decisions about {name} to show.")


def arrivals(since: Since = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the days on which users arrived, and how many."""
    from recsys.storage.history import read_arrivals

    with _connect() as connection:
        rows = read_arrivals(connection, since=_to_day(since), limit=limit)
    columns = ("day", "n_users", "n_generated", "n_ratings", "created_at")
    _show(rows, columns, as_json=as_json, empty="No arrivals to show; `otaku simulate --day DAY` lets users arrive.")


def quarantine(
    reason: Annotated[str | None, typer.Option(help="Only rows whose reason contains this.")] = None,
    limit: Limit = 20,
    counts: Annotated[bool, typer.Option("--counts", help="Count rows by reason instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the rows of files that were refused, each with its reason, file and line."""
    from recsys.storage.history import count_quarantine, read_quarantine

    with _connect() as connection:
        if counts:
            rows = [{"reason": name, "n_rows": n} for name, n in count_quarantine(connection).items()]
        else:
            rows = read_quarantine(connection, reason=reason, limit=limit)
    columns = ("reason", "n_rows") if counts else ("file_name", "line", "reason", "content")
    _show(rows, columns, as_json=as_json, empty="No refused rows to show.")


def list_drift(
    since: Since = None,
    breached: Annotated[bool, typer.Option("--breached", help="Only days on which a limit was passed.")] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show the days whose drift the nightly job measured."""
    from recsys.storage.history import read_drift

    with _connect() as connection:
        rows = read_drift(connection, since=_to_day(since), breached=breached, limit=limit)
    columns = ("day", "model_version", "breached", "retraining_wanted", "reason")
    empty = "No drift reports to show; the DAG `monitor_drift` writes one every night."
    _show(rows, columns, as_json=as_json, empty=empty)


def _show(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    from rich.table import Table

    from otaku.console import console

    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        console.print(empty)
        return
    table = Table(
        *(name.removeprefix("n_").replace("_", " ").replace("created at", "written (UTC)") for name in columns)
    )
    for row in rows:
        table.add_row(*(_format(row[name]) for name in columns))
    console.print(table)


def _format(value: Any) -> str:
    from rich.markup import escape

    formats: dict[type, Callable[[Any], str]] = {
        bool: lambda flag: "yes" if flag else "no",
        datetime: lambda moment: f"{moment:%Y-%m-%d %H:%M}",
        int: lambda number: f"{number:,}",
    }
    if value is None:
        return "-"
    text = formats.get(type(value), str)(value)
    # Rows of files are hostile input, also to a terminal.
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return escape(printable if len(printable) <= MAX_TEXT else f"{printable[: MAX_TEXT - 1]}…")
