"""Rows of a file that were refused, kept outside of memory where they are many."""

import csv
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from recsys.data.sources.rows import Refused

_IN_MEMORY: Final = 1 << 20  # characters, about; beyond that a temporary file holds them


class RefusedRows:
    """Rows in the order in which they were refused; as many as a file has cost one megabyte of memory.

    Parameters
    ----------
    rows
        The first ones.

    Attributes
    ----------
    reasons
        How many rows were refused for each reason.
    """

    def __init__(self, rows: Iterable[Refused] = ()) -> None:
        self.reasons: Counter[str] = Counter()
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+", encoding="utf-8", newline="")  # noqa: SIM115 - closed with self
        weakref.finalize(self, self._spool.close)
        self._writer = csv.writer(self._spool)
        self.extend(rows)

    def extend(self, rows: Iterable[Refused]) -> None:
        """Add rows."""
        for row in rows:
            self.append(row)

    def append(self, row: Refused) -> None:
        """Add a row."""
        self.reasons[row.reason] += 1
        self._writer.writerow(row)

    def __len__(self) -> int:
        return self.reasons.total()

    def __iter__(self) -> Iterator[Refused]:
        """Read all rows; none may be added meanwhile."""
        self._spool.seek(0)
        for line, reason, content in csv.reader(self._spool):
            yield Refused(int(line), reason, content)
        self._spool.seek(0, 2)
