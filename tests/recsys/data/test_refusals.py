"""Refused rows, in memory or out of it."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from recsys.data.sources.refusals import RefusedRows
from recsys.data.sources.rows import Refused, build_refused

ROWS = st.builds(build_refused, st.integers(1, 10**12), st.text(min_size=1, max_size=5), st.text())


@given(st.lists(ROWS), st.lists(ROWS))
def test_rows_come_back_as_they_were_also_when_more_are_added(first: list[Refused], later: list[Refused]) -> None:
    rows = RefusedRows(first)
    assert list(rows) == first
    rows.extend(later)
    assert list(rows) == first + later
    assert len(rows) == len(first + later)
    assert rows.reasons.total() == len(rows)


def test_many_rows_take_no_memory() -> None:
    rows = RefusedRows()
    tracemalloc.start()
    rows.extend(Refused(line, "longer than it may be", "x" * 2_000) for line in range(10_000))
    assert sum(len(row.content) for row in rows) == 20_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
