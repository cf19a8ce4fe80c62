import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.columns import Columns
from recsys.data import contracts
from recsys.data.sources.rows import RawBatch
from recsys.data.sources.users import hash_user_name
from recsys.types import WatchStatus

KNOWN = np.array([1, 5, 2**63 - 1])


def _check(*rows: str, rules: contracts.RatingRules = contracts.ALL_RATED) -> contracts.CheckedRatings:
    columns = list(zip(*(row.split(",") for row in rows), strict=True))
    return contracts.check_ratings(RawBatch(range(2, 2 + len(rows)), columns), KNOWN, rules)


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


def _read_entries(checked: contracts.CheckedRatings) -> list[tuple[int, int, int, str | None]]:
    names = [*WatchStatus, None]
    return [(user, item, rating, names[status]) for user, item, rating, status, _ in checked.table.to_numpy().tolist()]


def test_an_unrated_row_has_the_status_of_the_layout() -> None:
    rules = contracts.RatingRules(unrated=-1, unrated_status=WatchStatus.Completed)
    checked = _check("7,5,-1", "7,1,6", "x,5,-1", "7,2,-1", "7,1,0", rules=rules)
    assert _read_entries(checked) == [(7, 5, 0, "completed"), (7, 1, 6, None)]
    assert [(row.line, row.reason) for row in checked.refused] == [
        (4, "user_id is not a whole number"),
        (5, "unknown item"),
        (6, "rating is out of range"),
    ]


def test_list_entries_with_statuses() -> None:
    rows = ("7,5,0,6", "7,1,8.0,2", "8,1,,4", "8,5,3,Plan to Watch", "9,1,0.0,1.0", "9,5,9,")
    checked = _check(*rows, rules=contracts.RatingRules(unrated=0))
    assert _read_entries(checked) == [
        (7, 5, 0, "planned"),
        (7, 1, 8, "completed"),
        (8, 1, 0, "dropped"),
        (8, 5, 3, "planned"),
        (9, 1, 0, "watching"),
        (9, 5, 9, None),
    ]
    assert not checked.refused
    assert not checked.unreadable


def test_an_unknown_status_is_refused_where_nothing_else_is_said() -> None:
    checked = _check("7,5,8,5", "7,1,0,5", "8,1,0,", "8,5,-1,2", "9,5,x,2", rules=contracts.RatingRules(unrated=0))
    assert _read_entries(checked) == [(7, 5, 8, None)]
    assert checked.unreadable == {Columns.Status: 1}
    assert [(row.line, row.reason, row.content) for row in checked.refused] == [
        (3, "status is unknown", "7,1,0,5"),
        (4, "status is unknown", "8,1,0,"),
        (5, "rating is out of range", "8,5,-1,2"),
        (6, "rating is not a whole number", "9,5,x,2"),
    ]


def test_names_become_ids_and_never_stand_in_what_is_refused() -> None:
    rules = contracts.RatingRules(unrated=0, users_are_names=True)
    checked = _check("Ann,5,8,2", "ann ,1,0,6", "Bob,77,9,2", " ,5,9,2", "ann,5,9,2", rules=rules)
    ann, bob = hash_user_name("ann"), hash_user_name("bob")
    assert [entry[:2] for entry in _read_entries(checked)] == [(ann, 5), (ann, 1), (ann, 5)]
    assert [(row.reason, row.content) for row in checked.refused] == [
        ("unknown item", f"{bob},77,9,2"),
        ("user_id is missing", ",5,9,2"),
    ]


def _build_entries(*rows: tuple[int, int, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[*Columns.Interactions, Columns.Status, contracts.LINE])


def test_the_last_line_of_a_pair_holds() -> None:
    table = _build_entries((7, 5, 8, -1, 2), (7, 5, 9, -1, 3), (8, 5, 1, -1, 4), (7, 1, 3, -1, 5), (7, 5, 9, -1, 9))
    kept, refused = contracts.select_last_ratings(table)
    assert kept[Columns.Interactions].to_numpy().tolist() == [[7, 1, 3], [7, 5, 9], [8, 5, 1]]
    assert [(row.line, row.reason, row.content) for row in refused] == [
        (2, contracts.SUPERSEDED_RATING, "7,5,8"),
        (3, contracts.DUPLICATE_RATING, "7,5,9"),
    ]


def test_a_rating_supersedes_an_entry_without_one() -> None:
    planned, completed = (list(WatchStatus).index(status) for status in (WatchStatus.Planned, WatchStatus.Completed))
    kept, refused = contracts.select_last_ratings(
        _build_entries((7, 5, 0, planned, 2), (7, 5, 9, completed, 3), (8, 1, 9, planned, 4), (8, 1, 9, completed, 5))
    )
    assert kept.to_numpy().tolist() == [[7, 5, 9, completed], [8, 1, 9, completed]]
    assert [(row.reason, row.content) for row in refused] == [
        (contracts.SUPERSEDED_RATING, "7,5,,planned"),
        (contracts.SUPERSEDED_RATING, "8,1,9,planned"),
    ]


def test_without_known_items_every_rating_is_of_an_unknown_one() -> None:
    checked = contracts.check_ratings(RawBatch([2], [["7"], ["5"], ["9"]]), np.array([], dtype=np.int64))
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
