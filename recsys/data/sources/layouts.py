"""The layouts of source files, one registry entry each; docs/data-layouts.md describes them.

A layout says what its files are called and what their columns mean; here, and only here, the names of the sources
become those of `recsys.columns`. Column names are compared in lower case, with anything but letters and digits as `_`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from recsys.columns import Columns, ItemColumns
from recsys.data.contracts import ALL_RATED, RatingRules
from recsys.exceptions import ConfigurationError
from recsys.types import WatchStatus

AIRED: Final = "aired"
DURATION: Final = "duration"


@dataclass(frozen=True)
class FileFormat:
    """One file of a layout.

    Parameters
    ----------
    name
        What the file is called, without `.csv`, `.csv.gz` or `.parquet`.
    columns
        Column name of the source to ours; other columns are ignored.
    required
        Our columns without which the file is refused.
    signature
        Column names of the source that identify the file when it is called otherwise; empty if nothing does.
    """

    name: str
    columns: Mapping[str, str] = field(hash=False)
    required: tuple[str, ...]
    signature: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Layout:
    """A known arrangement of files.

    Parameters
    ----------
    name
        What `--layout` takes.
    reference
        Where the format is described.
    items, ratings
        The catalog, and the ratings or lists of users.
    synopses
        A further file of synopses, which may be missing.
    rules
        What stands for a missing rating, and how users are identified.
    holds_names
        Whether the rating file names users; then the raw text of a refused row is not kept.
    """

    name: str
    reference: str
    items: FileFormat
    ratings: FileFormat
    synopses: FileFormat | None = None
    rules: RatingRules = ALL_RATED
    holds_names: bool = False

    @property
    def files(self) -> list[FileFormat]:
        """All files, in reading order."""
        return [file for file in (self.items, self.synopses, self.ratings) if file is not None]


_KAGGLE: Final = "https://www.kaggle.com/datasets/"

_ITEM_COLUMNS: Final = {
    **{name: name for name in ItemColumns.All},
    "mal_id": Columns.Item,
    "anime_id": Columns.Item,
    "name": ItemColumns.Title,
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
_RATING_COLUMNS: Final = {
    "user_id": Columns.User,
    "anime_id": Columns.Item,
    "mal_id": Columns.Item,
    "item_id": Columns.Item,
    "rating": Columns.Rating,
    "score": Columns.Rating,
}
_ITEM_REQUIRED: Final = (Columns.Item, ItemColumns.Title, ItemColumns.Genres)
_RATING_REQUIRED: Final = (Columns.User, Columns.Item, Columns.Rating)
_LIST_REQUIRED: Final = (*_RATING_REQUIRED, Columns.Status)

_ITEMS_2020: Final = FileFormat("anime", _ITEM_COLUMNS, _ITEM_REQUIRED, frozenset({"mal_id", "name"}))
_SYNOPSES_2020: Final = FileFormat(
    "anime_with_synopsis", _ITEM_COLUMNS, (Columns.Item, ItemColumns.Synopsis), frozenset({"mal_id", "sypnopsis"})
)

# Where the file names of a folder fit several, the first one is taken.
_KNOWN: Final = (
    Layout(
        name="kaggle-2020",
        reference=f"{_KAGGLE}hernan4444/anime-recommendation-database-2020",
        items=_ITEMS_2020,
        synopses=_SYNOPSES_2020,
        ratings=FileFormat(
            "rating_complete", _RATING_COLUMNS, _RATING_REQUIRED, frozenset({"user_id", "anime_id", "rating"})
        ),
    ),
    Layout(
        name="kaggle-2020-lists",
        reference=f"{_KAGGLE}hernan4444/anime-recommendation-database-2020",
        items=_ITEMS_2020,
        synopses=_SYNOPSES_2020,
        ratings=FileFormat(
            "animelist",
            {**_RATING_COLUMNS, "watching_status": Columns.Status},
            _LIST_REQUIRED,
            frozenset({"user_id", "anime_id", "rating", "watching_status"}),
        ),
        rules=RatingRules(unrated=0),
    ),
    Layout(
        name="kaggle-2023",
        reference=f"{_KAGGLE}dbdmobile/myanimelist-dataset",
        items=FileFormat(
            "anime-dataset-2023",
            # The native title, in Japanese, Chinese or Korean.
            {**_ITEM_COLUMNS, "other_name": ItemColumns.TitleJapanese},
            _ITEM_REQUIRED,
            frozenset({"anime_id", "name", "english_name", "other_name", "genres", "synopsis"}),
        ),
        ratings=FileFormat(
            "users-score-2023",
            _RATING_COLUMNS,
            _RATING_REQUIRED,
            frozenset({"user_id", "username", "anime_id", "anime_title", "rating"}),
        ),
        holds_names=True,
    ),
    Layout(
        name="kaggle-2018",
        reference=f"{_KAGGLE}azathoth42/myanimelist",
        items=FileFormat(
            "AnimeList",
            # `aired` is a dictionary of what `aired_string` says.
            {**{name: ours for name, ours in _ITEM_COLUMNS.items() if name != AIRED}, "aired_string": AIRED},
            _ITEM_REQUIRED,
            frozenset({"anime_id", "title", "title_synonyms", "aired_string", "genre"}),
        ),
        ratings=FileFormat(
            "UserAnimeList",
            {
                "username": Columns.User,
                "anime_id": Columns.Item,
                "my_score": Columns.Rating,
                "my_status": Columns.Status,
            },
            _LIST_REQUIRED,
            frozenset({"username", "anime_id", "my_score", "my_status"}),
        ),
        rules=RatingRules(unrated=0, users_are_names=True),
        holds_names=True,
    ),
    Layout(
        name="kaggle-2025",
        reference=f"{_KAGGLE}dousitekounarundarou/largest-myanimelist-user-dataset-youll-ever-find",
        items=FileFormat("details", _ITEM_COLUMNS, _ITEM_REQUIRED),
        ratings=FileFormat(
            "ratings",
            {
                "username": Columns.User,
                "anime_id": Columns.Item,
                "score": Columns.Rating,
                "status": Columns.Status,
            },
            _LIST_REQUIRED,
            frozenset({"username", "anime_id", "status", "score"}),
        ),
        rules=RatingRules(unrated=0, users_are_names=True),
        holds_names=True,
    ),
    Layout(
        name="cooper-union",
        reference=f"{_KAGGLE}CooperUnion/anime-recommendations-database",
        items=FileFormat(
            "anime", _ITEM_COLUMNS, _ITEM_REQUIRED, frozenset({"anime_id", "name", "genre", "rating", "members"})
        ),
        ratings=FileFormat("rating", _RATING_COLUMNS, _RATING_REQUIRED, frozenset({"user_id", "anime_id", "rating"})),
        rules=RatingRules(unrated=-1, unrated_status=WatchStatus.Completed),
    ),
)

LAYOUTS: Final[dict[str, Layout]] = {}


def register_layout(layout: Layout) -> None:
    """Make a layout known to `find_layout` and `otaku ingest --layout`.

    Raises
    ------
    ConfigurationError
        If another layout has that name.
    """
    if layout.name in LAYOUTS:
        raise ConfigurationError(f"the layout {layout.name} is registered already; choose another name")
    LAYOUTS[layout.name] = layout


for _layout in _KNOWN:
    register_layout(_layout)
