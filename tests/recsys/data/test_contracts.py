import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.columns import Columns
from recsys.data import contracts
from recsys.data.sources.rows import RawBatch

KNOWN = np.array([1, 5, 2**63 - 1])


def _check(*rows: str, unrated: int | None = None) -> contracts.CheckedRatings:
    columns = list(zip(*(row.split(",") for row in rows), strict=True))
    return contracts.check_ratings(RawBatch(range(2, 2 + len(rows)), columns), KNOWN, unrated=unrated)


@pytest.mark.parametrize(
    "row", ["0,1,1", "7,5,10", "9223372036854775807,9223372036854775807,3", "7.0,5.0,8.0", " 7,5 ,8"]
)
def test_good_ratings(row: str) -> None:
    checked = _check(row)
    assert not checked.refused
    assert checked.table[Columns.Interactions].iloc[0].tolist() == [
        int(float(v)) if "." in v else int(v) for v in row.split(",")
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7,5,0", "rating is out of range"),
        ("7,5,11", "rating is out of range"),
        ("7,5,-1", "rating is out of range"),
        ("7,5,NaN", "rating is missing"),
        ("7,5,", "rating is missing"),
        ("7,5,ten", "rating is not a whole number"),
        ("7,5,7.5", "rating is not a whole number"),
        ("7,5,inf", "rating is not a whole number"),
        ("7,5,٧", "rating is not a whole number"),
        ("-7,5,7", "user_id is out of range"),
        ("9223372036854775808,5,7", "user_id is out of range"),
        ("7,9223372036854775808,7", "item_id is out of range"),
        ("7," + "9" * 5000 + ",7", "item_id is out of range"),
        ("7,0,7", "item_id is out of range"),
        ("me,5,7", "user_id is not a whole number"),
        ("7,,7", "item_id is missing"),
        ("7,2,7", "unknown item"),
        ("x,y,z", "user_id is not a whole number"),
    ],
)
def test_bad_ratings_say_why_and_where(row: str, reason: str) -> None:
    checked = _check("7,1,7", row)
    assert len(checked.table) == 1
    assert [(refused.line, refused.reason) for refused in checked.refused] == [(3, reason)]
    assert checked.refused[0].content == row[:2000]


def test_unrated_rows_are_counted_where_the_layout_has_them() -> None:
    checked = _check("7,5,-1", "7,1,6", "x,5,-1", unrated=-1)
    assert checked.n_unrated == 1
    assert len(checked.table) == 1
    assert [refused.reason for refused in checked.refused] == ["user_id is not a whole number"]


def test_the_last_line_of_a_pair_holds() -> None:
    table = pd.DataFrame(
        [(7, 5, 8, 2), (7, 5, 9, 3), (8, 5, 1, 4), (7, 5, 9, 9), (7, 1, 3, 5)], columns=[*Columns.Interactions, "line"]
    )
    kept, refused = contracts.select_last_ratings(table)
    assert kept.to_numpy().tolist() == [[7, 1, 3], [7, 5, 9], [8, 5, 1]]
    assert [(row.line, row.reason, row.content) for row in refused] == [
        (2, contracts.SUPERSEDED_RATING, "7,5,8"),
        (3, contracts.DUPLICATE_RATING, "7,5,9"),
    ]


def test_without_known_items_every_rating_is_of_an_unknown_one() -> None:
    checked = contracts.check_ratings(RawBatch([2], [["7"], ["5"], ["9"]]), np.array([], dtype=np.int64), unrated=None)
    assert [row.reason for row in checked.refused] == [contracts.UNKNOWN_ITEM]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**70), 2**70) | st.sampled_from(["", "nan", "7.0", "x"]), min_size=1))
def test_one_odd_value_changes_no_other(values: list[int | str]) -> None:
    together = contracts.parse_integers(list(map(str, values)), lower=0, upper=contracts.MAX_ID)
    alone = [contracts.parse_integers([str(value)], lower=0, upper=contracts.MAX_ID) for value in values]
    good = together.problems == ""
    assert together.problems.tolist() == [one.problems[0] for one in alone]
    assert together.values[good].tolist() == [
        one.values[0] for one, is_good in zip(alone, good, strict=True) if is_good
    ]
    assert all(good[i] == (0 <= value <= contracts.MAX_ID) for i, value in enumerate(values) if isinstance(value, int))
