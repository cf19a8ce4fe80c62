"""Read a source into items, ratings and statuses that keep their contracts, and account for every row of every file."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.sources.detection import FoundLayout, SourceFile, find_layout
from recsys.data.sources.items import list_item_columns, read_items, read_synopses
from recsys.data.sources.ratings import read_ratings
from recsys.data.sources.reports import FileReport, OnProgress
from recsys.exceptions import SourceLayoutError
from recsys.types import Ids

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Files, read.

    Parameters
    ----------
    layout
        The name of their layout.
    items
        The columns of `ItemColumns.All`; no row where the files hold no catalog.
    item_columns
        The columns of `items` that the files say something about; the others are missing everywhere.
    ratings
        The columns of `Columns.Interactions`; no row where the files hold no ratings.
    statuses
        The columns of `Columns.Statuses`: every list entry whose status is known, rated or not.
    files
        What became of the rows.
    ignored
        Files of other layouts in the same folder.
    """

    layout: str
    items: pd.DataFrame
    item_columns: list[str]
    ratings: pd.DataFrame
    statuses: pd.DataFrame
    files: list[FileReport]
    ignored: tuple[str, ...] = ()


def read_source(
    path: Path,
    *,
    layout: str | None = None,
    partial: bool = False,
    read_known_items: Callable[[], Ids] | None = None,
    on_progress: OnProgress | None = None,
) -> Source:
    """Read a folder in one of the registered layouts.

    Parameters
    ----------
    path
        A folder; with `partial`, a single file too.
    layout
        The name of its layout; found out without one.
    partial
        Whether a catalog without ratings, or ratings without a catalog, will do.
    read_known_items
        Returns the ids of the items that ratings without a catalog may be of, ascending.
    on_progress
        Called with a stage, how much of it is done and out of how much.

    Raises
    ------
    SourceLayoutError
        If the folder or one of its files is in no known layout.
    EmptyCatalogError
        If no row of the item file is an item.
    """
    found = find_layout(path, name=layout, partial=partial)
    report = on_progress or (lambda _stage, _done, _total: None)
    reports = {file.path: FileReport(file.path.name, _compute_digest(file.path)) for file in found.files}
    items = _read_catalog(found, reports, report)
    known_items = _get_known_items(found, items, read_known_items)
    ratings, statuses = _EMPTY_RATINGS.copy(), _EMPTY_STATUSES.copy()
    if found.ratings is not None:
        counts = reports[found.ratings.path]
        ratings, statuses = read_ratings(found.layout, found.ratings, counts, known_items, report)
    for file in reports.values():
        file.check_sum()
    columns = list_item_columns(found.items, found.synopses)
    return Source(found.layout.name, items, columns, ratings, statuses, list(reports.values()), found.ignored)


_EMPTY_RATINGS = pd.DataFrame(
    {Columns.User: np.empty(0, np.int64), Columns.Item: np.empty(0, np.int64), Columns.Rating: np.empty(0, np.int8)}
)
_EMPTY_STATUSES = _EMPTY_RATINGS[Columns.UserItem].assign(**{Columns.Status: pd.Categorical([])})


def _read_catalog(found: FoundLayout, reports: dict[Path, FileReport], report: OnProgress) -> pd.DataFrame:
    if found.items is None:
        return pd.DataFrame(columns=ItemColumns.All).astype({Columns.Item: np.int64})
    items = read_items(found.items, reports[found.items.path], report)
    if found.synopses is not None:
        synopses = read_synopses(found.synopses, reports[found.synopses.path], items[Columns.Item], report)
        items[ItemColumns.Synopsis] = (
            items[Columns.Item].map(synopses).astype(object).where(lambda text: text.notna(), None)
        )
    elif found.layout.synopses is not None and ItemColumns.Synopsis not in found.items.positions:
        logger.warning("there is no %s: titles stay without synopsis", found.layout.synopses.name)
    return items


def _get_known_items(found: FoundLayout, items: pd.DataFrame, read_known_items: Callable[[], Ids] | None) -> Ids:
    if found.items is None and read_known_items is not None:
        known = read_known_items()
        if len(known):
            return known
    if found.items is None:
        raise SourceLayoutError(
            f"{_name(found.ratings)} comes without a catalog; ingest one before, or in the same folder"
        )
    return items[Columns.Item].to_numpy(dtype=np.int64)


def _name(file: SourceFile | None) -> str:
    return "the source" if file is None else file.path.name


def _compute_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
