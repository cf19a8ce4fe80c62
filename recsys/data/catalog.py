"""All titles that can be recommended, in a fixed order that every matrix shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.columns import Columns, ItemColumns
from recsys.exceptions import EmptyCatalogError, SchemaMismatchError, UnknownItemError
from recsys.types import Floats, Genre, Ids, ItemId, Positions


@dataclass(frozen=True)
class Catalog:
    """Items sorted by id; the position of an item is its row here and its column in every matrix.

    Parameters
    ----------
    items
        One row per title with the columns of `ItemColumns.All`; list columns hold lists of strings, missing texts
        are None, missing numbers NaN, dates `datetime.date` or None.

    Raises
    ------
    EmptyCatalogError
        If there is no row.
    SchemaMismatchError
        If a column is missing or an id occurs twice.
    """

    items: pd.DataFrame

    def __post_init__(self) -> None:
        if self.items.empty:
            raise EmptyCatalogError("the catalog is empty; ingest a folder with anime.csv first")
        missing = [name for name in ItemColumns.All if name not in self.items.columns]
        if missing:
            raise SchemaMismatchError(f"the catalog lacks the columns {missing}")
        if self.items[Columns.Item].duplicated().any():
            raise SchemaMismatchError("an item id occurs twice in the catalog")
        items = self.items[ItemColumns.All].sort_values(Columns.Item, ignore_index=True)
        for name in ItemColumns.Lists:  # Parquet gives arrays back
            items[name] = pd.Series(
                [values.tolist() if isinstance(values, np.ndarray) else values for values in items[name]], dtype=object
            )
        object.__setattr__(self, "items", items)

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def item_ids(self) -> Ids:
        """Ids by position, ascending, `(n_items,)`."""
        return self.items[Columns.Item].to_numpy(dtype=np.int64)

    @cached_property
    def genres(self) -> tuple[Genre, ...]:
        """All genres, alphabetically: the column order of `genre_matrix`."""
        return tuple(sorted({genre for genres in self.items[ItemColumns.Genres] for genre in genres}))

    @cached_property
    def genre_matrix(self) -> Floats:
        """One where an item carries a genre, `(n_items, n_genres)`."""
        column = {genre: position for position, genre in enumerate(self.genres)}
        matrix = np.zeros((len(self), len(self.genres)), dtype=np.float32)
        for row, genres in enumerate(self.items[ItemColumns.Genres]):
            matrix[row, [column[genre] for genre in genres]] = 1.0
        return matrix

    def contains(self, item_ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell for each id whether the catalog holds it."""
        ids = np.asarray(item_ids, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.item_ids, ids), len(self) - 1)
        return np.asarray(self.item_ids[places] == ids, dtype=np.bool_)

    def select_known(self, item_ids: Iterable[ItemId]) -> Ids:
        """Return those of some ids that the catalog holds, ascending, each once."""
        ordered = np.unique(np.fromiter(item_ids, dtype=np.int64))
        return ordered[self.contains(ordered)]

    def positions(self, item_ids: npt.ArrayLike) -> Positions:
        """Translate ids to positions.

        Raises
        ------
        UnknownItemError
            Names the first id that the catalog does not hold.
        """
        ids = np.asarray(item_ids, dtype=np.int64)
        known = self.contains(ids)
        if not known.all():
            raise UnknownItemError(f"item {ids[~known][0]} is not in the catalog of {len(self)} titles")
        return np.searchsorted(self.item_ids, ids)

    def title(self, item_id: ItemId) -> str:
        """Return the default title of an item."""
        return str(self.items[ItemColumns.Title].iat[int(self.positions([item_id])[0])])
