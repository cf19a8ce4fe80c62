"""Write a catalog, ratings and statuses as files that `otaku ingest` and `otaku evaluate --data` read."""

import html
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from recsys.columns import Columns, ItemColumns
from recsys.data import contracts
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.layouts import AIRED, DURATION
from recsys.data.sources.values import MAX_ESCAPES
from recsys.data.watch_statuses import WatchStatuses

ITEM_FILE: Final = "anime.csv"
# Either of them, as there are statuses or not: the layouts `kaggle-2020` and `kaggle-2020-lists`.
RATING_FILE, LIST_FILE = "rating_complete.csv", "animelist.csv"
_ITEM_ID: Final = "MAL_ID"
_HEADINGS: Final = {Columns.Item: _ITEM_ID, ItemColumns.Title: "Name"}
_STATUS_HEADING: Final = "watching_status"
_RATING_HEADINGS: Final = {Columns.Item: "anime_id"}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_files(
    directory: Path, catalog: Catalog, interactions: Interactions, statuses: WatchStatuses
) -> tuple[Path, Path]:
    """Write `anime.csv` and `rating_complete.csv`, or `animelist.csv` where there are statuses.

    Reading the folder gives the same catalog, ratings and statuses, but for users who have neither.

    Returns
    -------
    The files of items and of ratings.
    """
    ratings = directory / (LIST_FILE if len(statuses) else RATING_FILE)
    _format_items(catalog).to_csv(directory / ITEM_FILE, index=False, lineterminator="\n")
    table = _join_statuses(interactions, statuses) if len(statuses) else interactions.table
    rows = pa.Table.from_pandas(table.rename(columns=_RATING_HEADINGS), preserve_index=False)
    pyarrow.csv.write_csv(rows, ratings, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return directory / ITEM_FILE, ratings


def _join_statuses(interactions: Interactions, statuses: WatchStatuses) -> pd.DataFrame:
    listed = statuses.table.astype({Columns.Status: str})
    table = interactions.table.merge(listed, how="outer", on=Columns.UserItem, sort=True)
    table[Columns.Rating] = table[Columns.Rating].fillna(contracts.UNRATED).astype(np.int8)
    return table.assign(**{Columns.Status: table[Columns.Status].fillna("")}).rename(
        columns={Columns.Status: _STATUS_HEADING}
    )


def _format_items(catalog: Catalog) -> pd.DataFrame:
    items = catalog.items
    columns: dict[str, Any] = {Columns.Item: items[Columns.Item]}
    columns |= {name: items[name].map(_escape) for name in ItemColumns.Texts}
    columns |= {name: items[name].map(_format_list) for name in ItemColumns.Lists}
    columns[AIRED] = list(map(_format_period, items[ItemColumns.AiredFrom], items[ItemColumns.AiredTo]))
    columns[DURATION] = items[ItemColumns.DurationMinutes].map(_format_duration)
    columns |= {name: items[name] for name in ItemColumns.Numericals if name != ItemColumns.DurationMinutes}
    return pd.DataFrame(columns).rename(columns=_HEADINGS)


def _escape(text: str | None) -> str:
    """Escape what a reader would take for an HTML entity, as often as it unescapes."""
    if text is None or html.unescape(text) == text:
        return text or ""
    return text.replace("&", f"&{'amp;' * MAX_ESCAPES}")


def _format_list(values: list[str]) -> str:
    return repr([_escape(value) for value in values]) if values else ""


def _format_period(first: Any, last: Any) -> str:
    if first is None and last is None:
        return ""
    return f"{_format_date(first)} to {_format_date(last)}"


def _format_date(day: Any) -> str:
    return "?" if day is None else f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"


def _format_duration(minutes: float) -> str:
    if math.isnan(minutes):
        return ""
    whole, seconds = divmod(round(minutes * 60), 60)
    return f"{whole} min." if not seconds else f"{whole} min. {seconds} sec."
