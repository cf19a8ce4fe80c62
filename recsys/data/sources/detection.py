"""Find out which registered layout some files are in, by their names and else by their headers; no row is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from recsys.columns import ItemColumns
from recsys.data.sources.layouts import LAYOUTS, FileFormat, Layout
from recsys.data.sources.rows import FORMATS, read_header
from recsys.exceptions import SourceLayoutError

_READ: Final = "; .csv, .csv.gz and .parquet are read"


@dataclass(frozen=True)
class SourceFile:
    """A file whose header was found good: `positions` tells where each of our columns stands."""

    path: Path
    positions: Mapping[str, int]
    n_columns: int


@dataclass(frozen=True)
class FoundLayout:
    """A layout and the files that are there; without `items` or `ratings`, the folder holds a part of it.

    `ignored` names files of other layouts that the folder holds as well.
    """

    layout: Layout
    items: SourceFile | None
    synopses: SourceFile | None
    ratings: SourceFile | None
    ignored: tuple[str, ...] = ()

    @property
    def files(self) -> list[SourceFile]:
        """All files, in reading order."""
        return [file for file in (self.items, self.synopses, self.ratings) if file is not None]


@dataclass(frozen=True)
class _Match:
    layout: Layout
    items: Path | None
    ratings: Path | None
    strength: int = 0  # columns of the signatures that were found

    @property
    def is_whole(self) -> bool:
        return self.items is not None and self.ratings is not None


def find_layout(source: Path, *, name: str | None = None, partial: bool = False) -> FoundLayout:
    """Recognise the layout of a folder, or of a single file, and check every header.

    Parameters
    ----------
    source
        A folder; with `partial`, a file too.
    name
        The layout that it is in; without one, the first layout whose files are there under their names, else the one
        whose column names fit best.
    partial
        Whether a catalog without ratings, or ratings without a catalog, will do where there is no other file.

    Raises
    ------
    SourceLayoutError
        If the layout is unknown or its files are not there; if a file occurs in two formats, is empty or binary, or
        lacks a column.
    """
    layouts = list(LAYOUTS.values()) if name is None else [get_layout(name)]
    tables = _list_tables(source, partial=partial)
    by_name = [_match_names(layout, tables) for layout in layouts]
    match = next((match for match in by_name if match.is_whole), None)
    if match is None:
        by_header = _match_headers(layouts, tables)
        whole = [match for match in by_header if match.is_whole]
        parts = [match for match in by_name + by_header if match.items or match.ratings]
        # A part beside other files may be a folder whose second file has a wrong name or header.
        match = _pick_strongest(source, whole or (parts if partial and _count_tables(tables) == 1 else []))
    if match is None:
        raise SourceLayoutError(_explain(source, by_name))
    return _check_files(match, tables)


def get_layout(name: str) -> Layout:
    """Look up a registered layout.

    Raises
    ------
    SourceLayoutError
        Names the layouts that there are.
    """
    if name not in LAYOUTS:
        raise SourceLayoutError(f"{name!r} is no known layout; choose one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def _list_tables(source: Path, *, partial: bool) -> dict[str, list[Path]]:
    """List the files in a readable format by their names without it."""
    if not source.is_dir() and not (partial and source.is_file()):
        raise SourceLayoutError(f"{source} is no folder; expected one with the files of a layout, as anime.csv")
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    tables: dict[str, list[Path]] = {}
    for path in paths:
        suffix = next((suffix for suffix in FORMATS if path.name.endswith(suffix)), None)
        if suffix is not None and path.is_file():
            tables.setdefault(path.name.removesuffix(suffix), []).append(path)
    return tables


def _match_names(layout: Layout, tables: Mapping[str, list[Path]]) -> _Match:
    return _Match(layout, _get_table(tables, layout.items.name), _get_table(tables, layout.ratings.name))


def _get_table(tables: Mapping[str, list[Path]], name: str) -> Path | None:
    found = tables.get(name, [])
    if len(found) > 1:
        raise SourceLayoutError(f"{found[0].parent} holds {found[0].name} and {found[1].name}; leave one of them")
    return found[0] if found else None


def _count_tables(tables: Mapping[str, list[Path]]) -> int:
    """Count the tables that can be a catalog or ratings."""
    return len(tables.keys() - _list_synopsis_names())


def _list_synopsis_names() -> set[str]:
    return {layout.synopses.name for layout in LAYOUTS.values() if layout.synopses}


def _match_headers(layouts: list[Layout], tables: Mapping[str, list[Path]]) -> list[_Match]:
    # A file of synopses may have all columns of a catalog, and lacks rows.
    synopses = _list_synopsis_names()
    candidates = [path for name, paths in tables.items() if name not in synopses for path in paths]
    headers = {path: names for path in candidates if (names := _read_plain_names(path))}
    matches = []
    for layout in layouts:
        items, n_items = _find_by_header(layout.items, headers)
        ratings, n_ratings = _find_by_header(layout.ratings, headers)
        matches.append(_Match(layout, items, ratings, n_items + n_ratings))
    return matches


def _read_plain_names(path: Path) -> frozenset[str]:
    try:
        return frozenset(map(simplify_name, read_header(path)))
    except SourceLayoutError:
        return frozenset()


def _find_by_header(wanted: FileFormat, headers: Mapping[Path, frozenset[str]]) -> tuple[Path | None, int]:
    """Find the one file with the signature of a format, or else a catalog with the columns that it needs."""
    signed = [path for path, names in headers.items() if wanted.signature and wanted.signature <= names]
    if len(signed) == 1:
        return signed[0], len(wanted.signature) + (signed[0].name.partition(".")[0] == wanted.name)
    usable = [path for path, names in headers.items() if set(wanted.required) <= {wanted.columns.get(n) for n in names}]
    return (usable[0], 0) if len(usable) == 1 and ItemColumns.Title in wanted.required else (None, 0)


def _pick_strongest(source: Path, matches: list[_Match]) -> _Match | None:
    best = max((match.strength for match in matches), default=0)
    strongest = [match for match in matches if match.strength == best]
    kinds = {(match.layout.ratings, match.ratings) for match in strongest if match.ratings is not None}
    if len(kinds) > 1:
        names = ", ".join(match.layout.name for match in strongest)
        raise SourceLayoutError(f"{source} fits the layouts {names}; name one by --layout")
    return strongest[0] if strongest else None


def _explain(source: Path, matches: list[_Match]) -> str:
    """Say what is missing for the layouts that a folder holds a file of, or else for any."""
    near = [match for match in matches if match.items or match.ratings] or matches
    missing = [
        f"{match.layout.name} lacks {' and '.join(f'{wanted.name}.csv' for wanted in _list_missing(match))}"
        for match in near
    ]
    return f"{source} is in no known layout: {', '.join(missing)}{_READ}"


def _list_missing(match: _Match) -> list[FileFormat]:
    parts = ((match.items, match.layout.items), (match.ratings, match.layout.ratings))
    return [wanted for found, wanted in parts if found is None]


def _check_files(match: _Match, tables: Mapping[str, list[Path]]) -> FoundLayout:
    layout = match.layout
    items = None if match.items is None else check_header(match.items, layout.items)
    ratings = None if match.ratings is None else check_header(match.ratings, layout.ratings)
    synopses = None
    if layout.synopses and items and (path := _get_table(tables, layout.synopses.name)):
        synopses = check_header(path, layout.synopses)
    found = FoundLayout(layout, items, synopses, ratings)
    used = {file.path for file in found.files}
    others = {other.ratings.name for other in LAYOUTS.values()} | {other.items.name for other in LAYOUTS.values()}
    ignored = [path.name for name in sorted(others & tables.keys()) for path in tables[name] if path not in used]
    return replace(found, ignored=tuple(ignored))


def simplify_name(name: str) -> str:
    """Write a column name in lower case with `_` between words.

    Examples
    --------
    >>> simplify_name(" Plan to Watch"), simplify_name("Score-10")
    ('plan_to_watch', 'score_10')
    """
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower())


def check_header(path: Path, wanted: FileFormat) -> SourceFile:
    """Find our columns in the header of a file; columns without a name or a use are ignored.

    Raises
    ------
    SourceLayoutError
        If a column is missing or occurs twice, or there is no header.
    """
    header = read_header(path)
    plain = list(map(simplify_name, header))
    columns = dict(wanted.columns)
    if columns.get("rating") == ItemColumns.AgeRating and "score" not in plain:
        # Files without a score call so what the others call the age rating.
        columns["rating"] = ItemColumns.MeanScore
    positions: dict[str, int] = {}
    for position, name in enumerate(plain):
        ours = columns.get(name)
        if ours is None:
            continue
        if ours in positions:
            raise SourceLayoutError(
                f"{path.name} has two columns for {ours}: {header[positions[ours]]}, {header[position]}"
            )
        positions[ours] = position
    missing = [name for name in wanted.required if name not in positions]
    if missing:
        raise SourceLayoutError(f"{path.name} has no column for {', '.join(missing)}; its header is {header[:8]}")
    return SourceFile(path, positions, len(header))
