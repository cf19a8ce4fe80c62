"""Catalogs of a few titles: real names, each standing for its kind."""

from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog


@dataclass(frozen=True)
class Work:
    item_id: int
    members: float
    title: str
    english: str | None = None
    japanese: str | None = None
    synonyms: list[str] = field(default_factory=list)
    type: str | None = "TV"
    year: int | None = None
    genres: list[str] = field(default_factory=list)
    age_rating: str | None = None


def build_catalog(works: list[Work]) -> Catalog:
    items = pd.DataFrame(index=range(len(works)), columns=ItemColumns.All, dtype=object)
    columns = {
        Columns.Item: "item_id",
        ItemColumns.Members: "members",
        ItemColumns.Title: "title",
        ItemColumns.TitleEnglish: "english",
        ItemColumns.TitleJapanese: "japanese",
        ItemColumns.Synonyms: "synonyms",
        ItemColumns.Type: "type",
        ItemColumns.Genres: "genres",
        ItemColumns.AgeRating: "age_rating",
    }
    for column, name in columns.items():
        items[column] = pd.Series([getattr(work, name) for work in works], dtype=object)
    items[Columns.Item] = items[Columns.Item].astype("int64")
    items[ItemColumns.Members] = items[ItemColumns.Members].astype("float64")
    aired = [None if work.year is None else date(work.year, 1, 1) for work in works]
    items[ItemColumns.AiredFrom] = pd.Series(aired, dtype=object)
    return Catalog(items)
