"""Account for every row of every file of a source."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from recsys.data.sources.refusals import RefusedRows
from recsys.data.sources.rows import RawBatch
from recsys.exceptions import DataContractError

# Called with a stage, how much of it is done and out of how much.
OnProgress = Callable[[str, int, int], None]


@dataclass
class FileReport:
    """What became of the rows of one file: `rows` = `ingested` + `unrated` + the refused ones.

    Parameters
    ----------
    ingested, unrated
        Rows that became items, synopses or ratings, and list entries without a rating.
    statuses
        The entries without a rating by status.
    unreadable
        Fields that could not be read and count as missing, by column; their rows are ingested.
    notes
        How many rows were read in spite of an oddity, by what it was.
    """

    name: str
    digest: str
    rows: int = 0
    ingested: int = 0
    unrated: int = 0
    refused: RefusedRows = field(default_factory=RefusedRows)
    statuses: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, batch: RawBatch) -> None:
        """Count the rows of a batch, those refused for their form included."""
        self.rows += len(batch.lines) + len(batch.refused)
        self.refused.extend(batch.refused)
        self.notes.update(batch.notes)

    def check_sum(self) -> None:
        """Make sure that no row got lost.

        Raises
        ------
        DataContractError
            If the parts do not add up to the rows of the file, which would be a mistake of the reader.
        """
        if self.rows != self.ingested + self.unrated + len(self.refused):
            raise DataContractError(
                f"{self.name}: {self.rows} rows, but {self.ingested} ingested + {self.unrated} unrated + "
                f"{len(self.refused)} quarantined; report this as a bug"
            )
