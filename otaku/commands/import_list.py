"""`otaku import-list`: a user's watch list, as a site exports it, shown or stored."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.data.lists.scores import ScoreFormat

if TYPE_CHECKING:
    from rich.table import Table
    from sqlalchemy import Engine

    from app.schemas.watch_lists import ImportResponse

_SHOWN_UNMATCHED = 20


def import_list(
    file: Annotated[
        Path, typer.Argument(help="Export of MyAnimeList, AniList or Yamtrack.", exists=True, dir_okay=False)
    ],
    user: Annotated[int | None, typer.Option(min=0, help="Store the list for this user.")] = None,
    scores: Annotated[
        ScoreFormat | None, typer.Option(help="Scale of the scores, where the file does not name it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be stored and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what a watch list holds, matched to the catalog; with --user, store its ratings and statuses.

    Formats: MyAnimeList (.xml, .xml.gz), AniList (gdpr_data.json, or a MediaListCollection as JSON), Yamtrack (.csv).
    The same list again changes nothing.
    """
    from otaku.console import console, running_settings
    from recsys.connections import open_engine

    content = _read_file(file)
    with open_engine(running_settings()) as engine:
        found = _import(engine, content, scores, user, dry_run=dry_run)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    console.print(build_entry_table(found))
    if found.unmatched:
        console.print(build_unmatched_table(found))
    console.print(describe(found, dry_run=dry_run and user is not None), soft_wrap=True)


def _read_file(file: Path) -> bytes:
    from recsys.data.lists.content import MAX_BYTES
    from recsys.exceptions import WatchListTooLargeError

    if file.stat().st_size > MAX_BYTES:
        raise WatchListTooLargeError(f"{file} is larger than {MAX_BYTES >> 20} MB; split it")
    return file.read_bytes()


def _import(
    engine: "Engine", content: bytes, scores: ScoreFormat | None, user: int | None, *, dry_run: bool
) -> "ImportResponse":
    """Read, match and, for a user, store a list in one transaction, which a dry run takes back."""
    from app.api.imports import build_import_response, show_stored
    from recsys.data.lists.formats import parse_watch_list
    from recsys.data.lists.matching import match_watch_list
    from recsys.data.titles import TitleIndex
    from recsys.storage.database import read_catalog
    from recsys.storage.migration import migrate
    from recsys.storage.watch_statuses import store_list

    read = parse_watch_list(content, score_format=scores)
    migrate(engine)
    catalog = read_catalog(engine)
    matched = match_watch_list(read, catalog, TitleIndex.build(catalog))
    if user is None:
        return build_import_response(read, matched, None)
    with engine.connect() as connection, connection.begin() as transaction:
        stored = store_list(connection, user, matched.ratings, matched.statuses)
        if dry_run:
            transaction.rollback()
    return build_import_response(read, matched, show_stored(user, stored))


def build_entry_table(found: "ImportResponse") -> "Table":
    """Count the matched entries by status, with their mean rating."""
    from rich.table import Table

    table = Table(title=f"{found.format}, scores read as {found.score_format}", title_justify="left")
    for column in ("status", "titles", "rated", "mean rating"):
        table.add_column(column, justify="left" if column == "status" else "right")
    for status, count in Counter(entry.status for entry in found.entries).most_common():
        ratings = [entry.rating for entry in found.entries if entry.status is status and entry.rating is not None]
        mean = f"{sum(ratings) / len(ratings):.1f}" if ratings else ""
        table.add_row(status.value, f"{count:,}", f"{len(ratings):,}", mean)
    return table


def build_unmatched_table(found: "ImportResponse") -> "Table":
    """List the first entries that no title stands for, with what is perhaps meant."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("not in the catalog", "perhaps meant", title_justify="left")
    for entry in found.unmatched[:_SHOWN_UNMATCHED]:
        name = entry.title or entry.source_id or f"MAL id {entry.item_id}"
        table.add_row(escape(name), escape("; ".join(entry.suggestions[:3])))
    return table


def describe(found: "ImportResponse", *, dry_run: bool) -> str:
    """Say in a few lines what became of a list."""
    matched, unmatched, duplicates = len(found.entries), len(found.unmatched), len(found.duplicates)
    counts = f"{matched:,} matched, {unmatched:,} not in the catalog, {duplicates:,} duplicates"
    lines = [f"{found.n_entries:,} entries: {counts}."]
    lines += [f"{count:,} × {note}." for note, count in found.notes.items()]
    if found.stored is None:
        lines.append("Nothing was stored; --user ID stores the list.")
    else:
        verb = "would change" if dry_run else "changed"
        stored = found.stored
        lines.append(f"User {stored.user_id}: {stored.n_ratings:,} ratings and {stored.n_statuses:,} statuses {verb}.")
    return "\n".join(lines)
