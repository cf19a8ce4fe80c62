import pandas as pd
import pytest

from recsys.data.interactions import Interactions
from recsys.data.watch_statuses import WatchStatuses, select_dropped
from recsys.exceptions import DataContractError


def build(*rows: tuple[int, int, str]) -> WatchStatuses:
    return WatchStatuses(pd.DataFrame(rows, columns=["user_id", "item_id", "status"]))


def test_statuses_are_sorted_and_checked() -> None:
    found = build((2, 1, "planned"), (1, 5, "dropped"), (1, 1, "completed"))
    assert found.table.values.tolist() == [[1, 1, "completed"], [1, 5, "dropped"], [2, 1, "planned"]]
    assert len(WatchStatuses()) == 0
    with pytest.raises(DataContractError, match="'watched' is unknown"):
        build((1, 1, "watched"))
    with pytest.raises(DataContractError, match="one status"):
        build((1, 1, "planned"), (1, 1, "dropped"))
    with pytest.raises(DataContractError, match="lack the columns"):
        WatchStatuses(pd.DataFrame({"user_id": [1]}))


def test_only_what_was_dropped_without_a_rating_is_selected() -> None:
    rated = Interactions(pd.DataFrame({"user_id": [1, 1], "item_id": [1, 5], "rating": [9, 8]}))
    statuses = build((1, 1, "dropped"), (1, 6, "dropped"), (2, 5, "dropped"), (1, 7, "planned"), (1, 8, "on_hold"))
    assert select_dropped(statuses, rated).to_numpy().tolist() == [[1, 6], [2, 5]]
    assert select_dropped(WatchStatuses(), rated).empty
