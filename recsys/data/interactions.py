"""Ratings as a validated value: one row per user and item."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.exceptions import DataContractError
from recsys.types import Ids, RatingMatrix

POSITIVE_RATING = 7


@dataclass(frozen=True)
class Interactions:
    """Ratings 1..10, unique by user and item, sorted by both.

    Parameters
    ----------
    table
        Columns `user_id` (int64), `item_id` (int64), `rating` (int8); sorted here, never changed in place.

    Raises
    ------
    DataContractError
        If a column is missing, a rating lies outside 1..10 or a pair occurs twice.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in Columns.Interactions if name not in self.table.columns]
        if missing:
            raise DataContractError(f"interactions lack the columns {missing}")
        table = self.table[Columns.Interactions].astype(
            {Columns.User: np.int64, Columns.Item: np.int64, Columns.Rating: np.int8}
        )
        table = table.sort_values(Columns.UserItem, ignore_index=True)
        if not table[Columns.Rating].between(1, 10).all():
            raise DataContractError("ratings must lie in 1..10; quarantine the others before")
        if table.duplicated(Columns.UserItem).any():
            raise DataContractError("a user may rate an item once; quarantine the duplicates before")
        object.__setattr__(self, "table", table)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def user_ids(self) -> Ids:
        """Distinct users, ascending: the row order of `to_matrix`."""
        return self.table[Columns.User].unique()

    def select_users(self, user_ids: Ids) -> "Interactions":
        """Keep the ratings of these users only."""
        return Interactions(self.table[self.table[Columns.User].isin(user_ids)])

    def to_matrix(self, catalog: Catalog) -> RatingMatrix:
        """Arrange the ratings as CSR `(n_users, n_items)`, float32, rows in the order of `user_ids`."""
        users = self.user_ids
        rows = np.searchsorted(users, self.table[Columns.User].to_numpy())
        columns = catalog.positions(self.table[Columns.Item].to_numpy())
        values = self.table[Columns.Rating].to_numpy(dtype=np.float32)
        return csr_matrix((values, (rows, columns)), shape=(len(users), len(catalog)))
