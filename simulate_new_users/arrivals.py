"""Who arrives on a day: a slice of the queue that depends on the day and on nothing that happened before."""

import datetime as dt
from typing import TypeAlias

import numpy as np

from recsys.data.users import GENERATED_IDS
from recsys.exceptions import ArrivalError
from recsys.types import UserId
from simulate_new_users.options import DEFAULT_COHORT_SIZE

# The earliest day of any queue, and the first one of a queue that replays the past.
EPOCH = dt.date(2026, 1, 5)
# Ids of generated users: FIRST_GENERATED_ID + ordinal of the day * IDS_PER_DAY + place in the cohort.
FIRST_GENERATED_ID = GENERATED_IDS.start
IDS_PER_DAY = 1000


CohortSize: TypeAlias = tuple[int, int]


def check_cohort_size(cohort_size: CohortSize) -> None:
    """Refuse bounds that no cohort can have.

    Raises
    ------
    ArrivalError
        If the bounds are not ordered or lie outside 1..1000.
    """
    smallest, largest = cohort_size
    if not 1 <= smallest <= largest <= IDS_PER_DAY:
        raise ArrivalError(
            f"a cohort of {smallest}..{largest} users is not possible; "
            f"give two numbers in 1..{IDS_PER_DAY}, the smaller first"
        )


def check_day(day: dt.date, first_day: dt.date = EPOCH) -> None:
    """Refuse days before the first one of the queue.

    Raises
    ------
    ArrivalError
        If the day lies before `first_day`.
    """
    if day < first_day:
        raise ArrivalError(
            f"no user can arrive on {day}: the queue starts on {first_day}; give that day or a later one"
        )


def draw_cohort_size(day: dt.date, cohort_size: CohortSize = DEFAULT_COHORT_SIZE) -> int:
    """Draw how many users arrive on a day, both bounds included; the same day always draws the same number."""
    smallest, largest = cohort_size
    return int(np.random.default_rng(day.toordinal()).integers(smallest, largest, endpoint=True))


def select_positions(day: dt.date, cohort_size: CohortSize = DEFAULT_COHORT_SIZE, first_day: dt.date = EPOCH) -> range:
    """Select the places in the queue that arrive on a day.

    The slice starts where the cohorts of all days since `first_day` end, whether or not these days were simulated; so
    cohorts never overlap and days can be simulated in any order, as long as `cohort_size` stays the same.

    Raises
    ------
    ArrivalError
        If the day lies before `first_day` or the bounds are not possible.
    """
    check_day(day, first_day)
    check_cohort_size(cohort_size)
    days_before = (dt.date.fromordinal(ordinal) for ordinal in range(first_day.toordinal(), day.toordinal()))
    start = sum(draw_cohort_size(before, cohort_size) for before in days_before)
    return range(start, start + draw_cohort_size(day, cohort_size))


def build_generated_id(day: dt.date, place: int) -> UserId:
    """Build the id of the user generated for a place (0..999) in the cohort of a day; never a real user's id."""
    return FIRST_GENERATED_ID + day.toordinal() * IDS_PER_DAY + place
