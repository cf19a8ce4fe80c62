"""The slice of the queue that a day takes."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.exceptions import ArrivalError
from simulate_new_users.arrivals import (
    EPOCH,
    FIRST_GENERATED_ID,
    build_generated_id,
    draw_cohort_size,
    select_positions,
)

bounds = st.tuples(st.integers(1, 40), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(n_days=st.integers(1, 60), cohort_size=bounds)
def test_cohorts_follow_one_another_without_gap_or_overlap(n_days: int, cohort_size: tuple[int, int]) -> None:
    days = [EPOCH + dt.timedelta(days=number) for number in range(n_days)]
    positions = [position for day in days for position in select_positions(day, cohort_size)]
    assert positions == list(range(len(positions)))
    assert all(cohort_size[0] <= len(select_positions(day, cohort_size)) <= cohort_size[1] for day in days)


def test_both_bounds_are_drawn() -> None:
    sizes = {draw_cohort_size(EPOCH + dt.timedelta(days=number)) for number in range(400)}
    assert sizes == set(range(10, 26))


def test_the_first_days_are_what_they_always_were() -> None:
    days = [EPOCH + dt.timedelta(days=number) for number in range(3)]
    assert [select_positions(day) for day in days] == [range(13), range(13, 28), range(28, 40)]


@pytest.mark.parametrize("cohort_size", [(0, 5), (5, 4), (10, 1001)])
def test_impossible_sizes_are_refused_by_value(cohort_size: tuple[int, int]) -> None:
    with pytest.raises(ArrivalError, match=rf"{cohort_size[0]}\.\.{cohort_size[1]}"):
        select_positions(EPOCH, cohort_size)


def test_a_day_before_the_queue_is_refused_by_name_with_the_remedy() -> None:
    with pytest.raises(ArrivalError, match=r"2026-01-04.*starts on 2026-01-05.*later"):
        select_positions(EPOCH - dt.timedelta(days=1))


@given(
    first=st.tuples(st.dates(EPOCH), st.integers(0, 999)),
    second=st.tuples(st.dates(EPOCH), st.integers(0, 999)),
)
def test_generated_ids_differ_and_stay_in_their_range(first: tuple[dt.date, int], second: tuple[dt.date, int]) -> None:
    one, two = build_generated_id(*first), build_generated_id(*second)
    assert (one == two) == (first == second)
    assert FIRST_GENERATED_ID <= min(one, two) <= max(one, two) < 2**63
