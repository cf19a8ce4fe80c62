"""The two known layouts of a folder, and what their columns are called in the wild.

=============  ========================================================  =====================
layout         files (each .csv, .csv.gz or .parquet)                    rows without a rating
=============  ========================================================  =====================
kaggle-2020    anime, rating_complete, anime_with_synopsis (optional)    none
cooper-union   anime, rating                                             rating is -1
=============  ========================================================  =====================

Here, and only here, MyAnimeList's names become the names of `recsys.columns`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recsys.columns import Columns, ItemColumns
from recsys.data.sources.rows import FORMATS, read_header
from recsys.exceptions import SourceLayoutError

AIRED = "aired"
DURATION = "duration"

_ITEM_NAMES = {
    "mal_id": Columns.Item,
    "anime_id": Columns.Item,
    "name": ItemColumns.Title,
    "title": ItemColumns.Title,
    "english_name": ItemColumns.TitleEnglish,
    "japanese_name": ItemColumns.TitleJapanese,
    "other_name": ItemColumns.Synonyms,
    "title_synonyms": ItemColumns.Synonyms,
    "genders": ItemColumns.Genres,
    "genre": ItemColumns.Genres,
    "studio": ItemColumns.Studios,
    "rating": ItemColumns.AgeRating,
    "score": ItemColumns.MeanScore,
    "rank": ItemColumns.Ranked,
    "favourites": ItemColumns.Favorites,
    "sypnopsis": ItemColumns.Synopsis,
    AIRED: AIRED,
    DURATION: DURATION,
}
_RATING_NAMES = {
    "user_id": Columns.User,
    "anime_id": Columns.Item,
    "mal_id": Columns.Item,
    "item_id": Columns.Item,
    "rating": Columns.Rating,
    "score": Columns.Rating,
}


@dataclass(frozen=True)
class SourceFile:
    """A file whose header was found good: `positions` tells where each of our columns stands."""

    path: Path
    positions: Mapping[str, int]
    n_columns: int


@dataclass(frozen=True)
class Layout:
    """The files of a folder; `unrated` is the rating that means "watched, not rated", None where there is none."""

    name: str
    items: SourceFile
    synopses: SourceFile | None
    ratings: SourceFile
    unrated: int | None

    @property
    def files(self) -> list[SourceFile]:
        """All files, in reading order."""
        return [file for file in (self.items, self.synopses, self.ratings) if file is not None]


def find_layout(directory: Path) -> Layout:
    """Recognise the layout of a folder by its file names and check every header; no row is read.

    Raises
    ------
    SourceLayoutError
        If a file is missing, occurs in two formats, is empty or binary, or lacks a column.
    """
    if not directory.is_dir():
        raise SourceLayoutError(f"{directory} is no folder; expected one with anime.csv and rating_complete.csv")
    items = _find_file(directory, "anime")
    kaggle = _find_file(directory, "rating_complete")
    ratings = kaggle or _find_file(directory, "rating")
    if items is None or ratings is None:
        missing = "anime.csv" if items is None else "rating_complete.csv (or rating.csv)"
        raise SourceLayoutError(f"{directory} lacks {missing}; .csv, .csv.gz and .parquet are read")
    synopses = _find_file(directory, "anime_with_synopsis") if kaggle else None
    return Layout(
        name="kaggle-2020" if kaggle else "cooper-union",
        items=_check_header(items, _ITEM_NAMES, [Columns.Item, ItemColumns.Title, ItemColumns.Genres]),
        synopses=None
        if synopses is None
        else _check_header(synopses, _ITEM_NAMES, [Columns.Item, ItemColumns.Synopsis]),
        ratings=_check_header(ratings, _RATING_NAMES, Columns.Interactions),
        unrated=None if kaggle else -1,
    )


def _find_file(directory: Path, stem: str) -> Path | None:
    found = [path for path in (directory / f"{stem}{suffix}" for suffix in FORMATS) if path.is_file()]
    if len(found) > 1:
        raise SourceLayoutError(f"{directory} holds {found[0].name} and {found[1].name}; leave one of them")
    return found[0] if found else None


def _check_header(path: Path, names: Mapping[str, str], required: list[str]) -> SourceFile:
    header = read_header(path)
    plain = [re.sub(r"[^a-z0-9]+", "_", name.strip().lower()) for name in header]
    translations = dict(names)
    if names is _ITEM_NAMES and "score" not in plain:
        # CooperUnion calls the mean score what Kaggle calls the age rating.
        translations["rating"] = ItemColumns.MeanScore
    positions: dict[str, int] = {}
    for position, name in enumerate(plain):
        ours = translations.get(name, name)
        if ours in positions:
            raise SourceLayoutError(
                f"{path.name} has two columns for {ours}: {header[positions[ours]]}, {header[position]}"
            )
        positions[ours] = position
    missing = [name for name in required if name not in positions]
    if missing:
        raise SourceLayoutError(f"{path.name} has no column for {', '.join(missing)}; its header is {header[:8]}")
    return SourceFile(path, positions, len(header))
