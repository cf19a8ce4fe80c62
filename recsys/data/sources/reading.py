"""Read a whole folder into items and ratings that keep their contracts, and account for every row of every file."""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data import contracts
from recsys.data.sources import values
from recsys.data.sources.layouts import AIRED, DURATION, Layout, SourceFile, find_layout
from recsys.data.sources.rows import RawBatch, Refused, build_refused, read_batches
from recsys.exceptions import DataContractError, EmptyCatalogError

logger = logging.getLogger(__name__)

# Called with a stage, how much of it is done and out of how much.
OnProgress = Callable[[str, int, int], None]

_NUMBER_PARSERS: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(ItemColumns.Numericals, values.parse_number),
    ItemColumns.MeanScore: partial(values.parse_number, upper=10.0),
}


@dataclass
class FileReport:
    """What became of the rows of one file: `rows` = `ingested` + `unrated` + the refused ones."""

    name: str
    digest: str
    rows: int = 0
    ingested: int = 0
    unrated: int = 0
    refused: list[Refused] = field(default_factory=list)
    # Fields that could not be read and count as missing, by column; their rows are ingested.
    unreadable: Counter[str] = field(default_factory=Counter)

    def check_sum(self) -> None:
        """Make sure that no row got lost.

        Raises
        ------
        DataContractError
            If the parts do not add up to the rows of the file, which would be a mistake of the reader.
        """
        if self.rows != self.ingested + self.unrated + len(self.refused):
            raise DataContractError(
                f"{self.name}: {self.rows} rows, but {self.ingested} ingested + {self.unrated} unrated + "
                f"{len(self.refused)} quarantined; report this as a bug"
            )


@dataclass(frozen=True)
class Source:
    """A folder, read: `items` has the columns of `ItemColumns.All`, `ratings` those of `Columns.Interactions`.

    `item_columns` names the columns of `items` that the files speak of; the others are missing everywhere.
    """

    layout: str
    items: pd.DataFrame
    item_columns: list[str]
    ratings: pd.DataFrame
    files: list[FileReport]


def read_source(directory: Path, *, on_progress: OnProgress | None = None) -> Source:
    """Read a folder in one of the known layouts.

    Raises
    ------
    SourceLayoutError
        If the folder or one of its files is in no known layout.
    EmptyCatalogError
        If no row of the item file is an item.
    """
    layout = find_layout(directory)
    report = on_progress or (lambda _stage, _done, _total: None)
    files = [FileReport(file.path.name, _compute_digest(file.path)) for file in layout.files]
    items = _read_items(layout.items, files[0], report)
    if layout.synopses is not None:
        synopses = _read_synopses(layout.synopses, files[1], items[Columns.Item], report)
        items[ItemColumns.Synopsis] = (
            items[Columns.Item].map(synopses).astype(object).where(lambda text: text.notna(), None)
        )
    elif layout.name == "kaggle-2020":
        logger.warning("%s has no anime_with_synopsis: titles stay without synopsis", directory)
    ratings = _read_ratings(layout, files[-1], items[Columns.Item].to_numpy(dtype=np.int64), report)
    for file in files:
        file.check_sum()
    return Source(layout.name, items, _list_item_columns(layout), ratings, files)


def _list_item_columns(layout: Layout) -> list[str]:
    spoken_of = set(layout.items.positions)
    if layout.synopses is not None:
        spoken_of.add(ItemColumns.Synopsis)
    if AIRED in spoken_of:
        spoken_of.update(ItemColumns.Dates)
    if DURATION in spoken_of:
        spoken_of.add(ItemColumns.DurationMinutes)
    return [name for name in ItemColumns.All if name in spoken_of]


def _compute_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _select_columns(batch: RawBatch, file: SourceFile, names: Sequence[str]) -> list[Sequence[str]]:
    return [batch.columns[file.positions[name]] for name in names]


def _read_items(file: SourceFile, counts: FileReport, report: OnProgress) -> pd.DataFrame:
    rows: dict[int, dict[str, Any]] = {}
    names = list(file.positions)
    for batch in read_batches(file.path, file.n_columns):
        columns = _select_columns(batch, file, names)
        counts.rows += len(batch.lines) + len(batch.refused)
        counts.refused += batch.refused
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
    table = pd.DataFrame(list(rows.values()), columns=ItemColumns.All)
    return table.astype(dict.fromkeys(ItemColumns.Numericals, np.float64)).sort_values(Columns.Item, ignore_index=True)


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
        **{name: values.parse_text(texts.get(name, "")) for name in ItemColumns.Texts},
        **{name: values.parse_list(texts.get(name, "")) for name in ItemColumns.Lists},
        **{name: read(name, parse, math.nan) for name, parse in _NUMBER_PARSERS.items()},
        ItemColumns.Synopsis: values.parse_synopsis(texts.get(ItemColumns.Synopsis, "")),
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


def _read_synopses(file: SourceFile, counts: FileReport, known: pd.Series, report: OnProgress) -> dict[int, str | None]:
    synopses: dict[int, str | None] = {}
    items = set(known)
    for batch in read_batches(file.path, file.n_columns):
        counts.rows += len(batch.lines) + len(batch.refused)
        counts.refused += batch.refused
        spelled = _select_columns(batch, file, [Columns.Item, ItemColumns.Synopsis])
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
    return synopses


def _read_ratings(layout: Layout, counts: FileReport, known_items: Any, report: OnProgress) -> pd.DataFrame:
    file = layout.ratings
    tables = []
    for batch in read_batches(file.path, file.n_columns):
        batch.columns = _select_columns(batch, file, Columns.Interactions)
        checked = contracts.check_ratings(batch, known_items, unrated=layout.unrated)
        counts.rows += len(batch.lines) + len(batch.refused)
        counts.refused += [*batch.refused, *checked.refused]
        counts.unrated += checked.n_unrated
        tables.append(checked.table)
        report("read ratings", int(batch.share_read * 100), 100)
    ratings, repeated = contracts.select_last_ratings(pd.concat(tables, ignore_index=True))
    counts.refused += repeated
    counts.ingested = len(ratings)
    return ratings
