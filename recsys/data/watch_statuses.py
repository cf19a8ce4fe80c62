"""Statuses of list entries as a validated value, and what they may say of taste."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.exceptions import DataContractError
from recsys.types import WatchStatus


def _build_empty() -> pd.DataFrame:
    return pd.DataFrame({Columns.User: [], Columns.Item: [], Columns.Status: []})


@dataclass(frozen=True)
class WatchStatuses:
    """Statuses, unique by user and item, sorted by both; whether an entry is rated stands in the ratings alone.

    Parameters
    ----------
    table
        Columns `user_id` (int64), `item_id` (int64), `status` (categorical, the values of `WatchStatus`).

    Raises
    ------
    DataContractError
        If a column is missing, a status is unknown or a pair occurs twice.
    """

    table: pd.DataFrame = field(default_factory=_build_empty)

    def __post_init__(self) -> None:
        missing = [name for name in Columns.Statuses if name not in self.table.columns]
        if missing:
            raise DataContractError(f"watch statuses lack the columns {missing}")
        table = self.table[Columns.Statuses].astype({Columns.User: np.int64, Columns.Item: np.int64})
        given = table[Columns.Status]
        table[Columns.Status] = pd.Categorical(given, categories=[status.value for status in WatchStatus])
        unknown = table[Columns.Status].isna()
        if unknown.any():
            name = given[unknown].iloc[0]
            raise DataContractError(f"status {name!r} is unknown; it is one of {', '.join(WatchStatus)}")
        table = table.sort_values(Columns.UserItem, ignore_index=True)
        if table.duplicated(Columns.UserItem).any():
            raise DataContractError("a user may have one status for an item; keep the last one")
        object.__setattr__(self, "table", table)

    def __len__(self) -> int:
        return len(self.table)


def select_dropped(statuses: WatchStatuses, interactions: Interactions) -> pd.DataFrame:
    """Select the titles that users dropped without rating them, as `user_id` and `item_id`, sorted by both."""
    dropped = statuses.table.loc[statuses.table[Columns.Status] == WatchStatus.Dropped.value, Columns.UserItem]
    found = dropped.merge(interactions.table[Columns.UserItem], how="left", indicator=True)
    unrated: pd.DataFrame = found.loc[found["_merge"] == "left_only", Columns.UserItem]
    return unrated.reset_index(drop=True)
