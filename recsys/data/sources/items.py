"""Read the catalog of a source: its items, and synopses that stand in a file of their own."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data import contracts
from recsys.data.sources import values
from recsys.data.sources.detection import SourceFile
from recsys.data.sources.labels import SOURCES, TYPES, fold_label
from recsys.data.sources.layouts import AIRED, DURATION
from recsys.data.sources.reports import FileReport, OnProgress
from recsys.data.sources.rows import RawBatch, build_refused, read_batches
from recsys.exceptions import EmptyCatalogError

# A text that so many titles share describes none of them.
PLACEHOLDER_TITLES: Final = 20
SHARED_SYNOPSIS: Final = "synopses shared by many titles, counted as missing"

_NUMBER_PARSERS: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(ItemColumns.Numericals, values.parse_number),
    ItemColumns.MeanScore: values.parse_score,
}
# The title is parsed before, since a row without one is refused.
_TEXT_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(ItemColumns.Texts, values.parse_text),
    **dict.fromkeys(ItemColumns.Lists, values.parse_list),
    ItemColumns.Genres: values.parse_genres,
    ItemColumns.Type: lambda text: fold_label(values.parse_text(text), TYPES),
    ItemColumns.Source: lambda text: fold_label(values.parse_text(text), SOURCES),
    ItemColumns.Synopsis: values.parse_synopsis,
}
del _TEXT_PARSERS[ItemColumns.Title]


def read_items(file: SourceFile, counts: FileReport, report: OnProgress) -> pd.DataFrame:
    """Read the items, ascending by id, with the columns of `ItemColumns.All`.

    Raises
    ------
    EmptyCatalogError
        If no row is an item.
    """
    rows: dict[int, dict[str, Any]] = {}
    names = list(file.positions)
    for batch in read_batches(file.path, file.n_columns):
        columns = select_columns(batch, file, names)
        counts.add(batch)
        for line, (item_id, reason), fields in zip(
            batch.lines, _check_ids(batch, file), zip(*columns, strict=True), strict=True
        ):
            texts = dict(zip(names, fields, strict=True))
            title = values.parse_title(texts[ItemColumns.Title])
            if not reason and (title is None or item_id in rows):
                reason = contracts.MISSING_TITLE if title is None else contracts.DUPLICATE_ITEM
            if reason:
                counts.refused.append(build_refused(line, reason, ",".join(fields)))
            else:
                rows[item_id] = {
                    **_parse_item(texts, counts.unreadable),
                    Columns.Item: item_id,
                    ItemColumns.Title: title,
                }
        report("read items", int(batch.share_read * 100), 100)
    if not rows:
        raise EmptyCatalogError(
            f"no row of {counts.name} is an item; {len(counts.refused)} of {counts.rows} are refused"
        )
    counts.ingested = len(rows)
    _clear_shared_synopses(rows, counts)
    table = pd.DataFrame(list(rows.values()), columns=ItemColumns.All)
    return table.astype(dict.fromkeys(ItemColumns.Numericals, np.float64)).sort_values(Columns.Item, ignore_index=True)


def _clear_shared_synopses(rows: Mapping[int, dict[str, Any]], counts: FileReport) -> None:
    shared = _find_shared([row[ItemColumns.Synopsis] for row in rows.values()])
    for row in rows.values():
        if row[ItemColumns.Synopsis] in shared:
            row[ItemColumns.Synopsis] = None
            counts.notes[SHARED_SYNOPSIS] += 1


def _find_shared(synopses: Sequence[str | None]) -> set[str]:
    counted = Counter(text for text in synopses if text is not None)
    return {text for text, n_titles in counted.items() if n_titles >= PLACEHOLDER_TITLES}


def _check_ids(batch: RawBatch, file: SourceFile) -> list[tuple[int, str]]:
    """Parse the item ids of a batch into pairs of id and problem, "" where there is none."""
    lower, upper = contracts.BOUNDS[Columns.Item]
    parsed = contracts.parse_integers(batch.columns[file.positions[Columns.Item]], lower=lower, upper=upper)
    return [
        (item_id, problem and f"{Columns.Item} {problem}")
        for item_id, problem in zip(parsed.values.tolist(), parsed.problems, strict=True)
    ]


def _parse_item(texts: Mapping[str, str], unreadable: Counter[str]) -> dict[str, Any]:
    """Parse all fields but id and title; what cannot be read is missing and counted."""
    read = partial(_read_or_count, texts, unreadable)
    aired_from, aired_to = read(AIRED, values.parse_aired, (None, None))
    return {
        **{name: parse(texts.get(name, "")) for name, parse in _TEXT_PARSERS.items()},
        **{name: read(name, parse, math.nan) for name, parse in _NUMBER_PARSERS.items()},
        ItemColumns.DurationMinutes: read(DURATION, values.parse_duration, math.nan),
        ItemColumns.AiredFrom: aired_from,
        ItemColumns.AiredTo: aired_to,
    }


def _read_or_count(
    texts: Mapping[str, str], unreadable: Counter[str], name: str, parse: Callable[[str], Any], missing: Any
) -> Any:
    try:
        return parse(texts.get(name, ""))
    except ValueError:
        unreadable[name] += 1
        return missing


def read_synopses(file: SourceFile, counts: FileReport, known: pd.Series, report: OnProgress) -> dict[int, str | None]:
    """Read the synopses of known items by item id."""
    synopses: dict[int, str | None] = {}
    items = set(known)
    for batch in read_batches(file.path, file.n_columns):
        counts.add(batch)
        spelled = select_columns(batch, file, [Columns.Item, ItemColumns.Synopsis])
        checked = zip(batch.lines, _check_ids(batch, file), *spelled, strict=True)
        for line, (item_id, reason), spelled_id, text in checked:
            if not reason and item_id in synopses:
                reason = contracts.DUPLICATE_ITEM
            elif not reason and item_id not in items:
                reason = contracts.UNKNOWN_ITEM
            if reason:
                counts.refused.append(build_refused(line, reason, f"{spelled_id},{text}"))
            else:
                synopses[item_id] = values.parse_synopsis(text)
        report("read synopses", int(batch.share_read * 100), 100)
    counts.ingested = len(synopses)
    shared = _find_shared(list(synopses.values()))
    counts.notes.update({SHARED_SYNOPSIS: n} if (n := sum(text in shared for text in synopses.values())) else {})
    return {item_id: None if text in shared else text for item_id, text in synopses.items()}


def select_columns(batch: RawBatch, file: SourceFile, names: Sequence[str]) -> list[Sequence[str]]:
    """Return the texts of some of our columns."""
    return [batch.columns[file.positions[name]] for name in names]


def list_item_columns(*files: SourceFile | None) -> list[str]:
    """List the columns of `ItemColumns.All` that the files say something about."""
    named = {name for file in files if file is not None for name in file.positions}
    if AIRED in named:
        named.update(ItemColumns.Dates)
    if DURATION in named:
        named.add(ItemColumns.DurationMinutes)
    return [name for name in ItemColumns.All if name in named]
