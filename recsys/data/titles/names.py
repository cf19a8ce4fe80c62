"""The names of all works of a catalog: default, English and Japanese titles and synonyms, popular works first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.folding import fold_title
from recsys.data.seasons import ParsedTitle, parse_title
from recsys.types import Ids

Role = Literal["exact", "alias"]

KNOWN_WORKS: Final = 1_000  # the most popular works, or at least the share below of all
KNOWN_SHARE: Final = 0.2

_MINOR_TYPES = frozenset({"special", "music"})
_MINOR_KINDS = frozenset({"special", "recap", "music"})
_ADULT_GENRE = "hentai"
_ADULT_RATING = "rx"


class Name(NamedTuple):
    """One name of a work."""

    position: int  # of the work in the catalog
    text: str
    folded: str
    role: Role  # exact for the default title
    parsed: ParsedTitle


@dataclass(frozen=True)
class Works:
    """What decides between works of equal names, by position in the catalog."""

    item_ids: Ids
    titles: list[str]
    types: list[str]  # in lower case, empty where unknown
    years: list[int | None]  # in which they began
    members: list[float]
    ranks: list[int]  # 0 for the most popular work
    is_minor: list[bool]  # recaps, specials and music videos: they never own the name of their series
    is_adult: list[bool]

    @classmethod
    def build(cls, catalog: Catalog) -> "Works":
        """Read the columns of a catalog."""
        items = catalog.items
        titles = [str(title) for title in items[ItemColumns.Title]]
        types = [_lower(kind) for kind in items[ItemColumns.Type]]
        members = items[ItemColumns.Members].fillna(-1).to_numpy(dtype=np.float64)
        order = np.lexsort((items[Columns.Item].to_numpy(dtype=np.int64), -members))
        return cls(
            item_ids=catalog.item_ids,
            titles=titles,
            types=types,
            years=[getattr(day, "year", None) for day in items[ItemColumns.AiredFrom]],
            members=np.maximum(members, 1.0).tolist(),
            ranks=np.argsort(order).tolist(),
            is_minor=[
                kind in _MINOR_TYPES or parse_title(title).kind in _MINOR_KINDS
                for title, kind in zip(titles, types, strict=True)
            ],
            is_adult=find_adult(items).tolist(),
        )

    def select(self, names: Iterable[Name], *, adult: bool) -> Iterator[Name]:
        """Yield the names of works that may be shown: those for adults only on request."""
        return (name for name in names if adult or not self.is_adult[name.position])

    def is_known(self, position: int) -> bool:
        """Tell whether a work is popular enough to be meant by less than its name."""
        return self.ranks[position] < max(KNOWN_WORKS, KNOWN_SHARE * len(self.ranks))


def find_adult(items: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell for each row of a catalog whether the work is for adults only: the genre Hentai or an age rating of Rx.

    >>> find_adult(pd.DataFrame({"genres": [["HENTAI"], ["Action"], []], "age_rating": [None, "R+", "Rx - Hentai"]}))
    array([ True, False,  True])
    """
    rows = zip(items[ItemColumns.Genres], items[ItemColumns.AgeRating], strict=True)
    adult = [_carries_adult_genre(genres) or _lower(rating).startswith(_ADULT_RATING) for genres, rating in rows]
    return np.array(adult, dtype=np.bool_)


def read_names(catalog: Catalog, works: Works) -> list[Name]:
    """List all names, those of popular works first and the default title of each first; equal ones of a work once."""
    columns = [ItemColumns.Title, ItemColumns.TitleEnglish, ItemColumns.TitleJapanese, ItemColumns.Synonyms]
    rows = list(zip(*(catalog.items[column] for column in columns), strict=True))
    return [name for position in np.argsort(works.ranks).tolist() for name in _read_work(position, *rows[position])]


def _read_work(position: int, title: str, english: Any, japanese: Any, synonyms: Any) -> Iterator[Name]:
    seen: set[str] = set()
    aliases = [english, japanese, *(synonyms if isinstance(synonyms, list | tuple) else ())]
    for place, text in enumerate([str(title), *aliases]):
        if isinstance(text, str) and (not place or text.strip()) and text not in seen:
            seen.add(text)
            yield Name(position, text, fold_title(text), "alias" if place else "exact", parse_title(text))


def _carries_adult_genre(genres: Any) -> bool:
    return isinstance(genres, list | tuple) and any(_lower(genre).strip() == _ADULT_GENRE for genre in genres)


def _lower(value: Any) -> str:
    return value.strip().casefold() if isinstance(value, str) else ""
