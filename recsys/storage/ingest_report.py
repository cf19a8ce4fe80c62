"""What an ingest found and did."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from recsys.data.sources.reports import FileReport


@dataclass(frozen=True)
class FileSummary:
    """Rows of one file: `rows` = `ingested` + `unrated` + the sum of `quarantined`, counted by reason.

    `unrated` rows are list entries without a rating; `statuses` counts them by status. `unreadable` counts single
    fields, by column, that count as missing although they say something; their rows are in. `notes` counts rows that
    were read in spite of an oddity, by what it was.
    """

    name: str
    rows: int
    ingested: int
    unrated: int
    quarantined: dict[str, int]
    unreadable: dict[str, int]
    statuses: dict[str, int]
    notes: dict[str, int]


@dataclass(frozen=True)
class IngestReport:
    """What an ingest found and did; `written` counts rows added, changed or removed by table, all 0 the second time.

    After a dry run, `written` counts the rows that an ingest would have added, changed or removed, and `snapshot_uri`
    is empty. `ignored` names files of other layouts in the same folder.
    """

    layout: str
    files: tuple[FileSummary, ...]
    n_items: int
    n_users_known: int
    n_users_held_back: int
    written: dict[str, int]
    snapshot_uri: str
    seconds: float
    dry_run: bool = False
    ignored: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def quarantined(self) -> dict[str, int]:
        """Refused rows of all files by reason, the most frequent first."""
        return dict(sum((Counter(file.quarantined) for file in self.files), Counter[str]()).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {**asdict(self), "files": [asdict(file) for file in self.files], "quarantined": self.quarantined}


def summarise_file(file: FileReport) -> FileSummary:
    """Count what became of the rows of a file."""
    return FileSummary(
        name=file.name,
        rows=file.rows,
        ingested=file.ingested,
        unrated=file.unrated,
        quarantined=dict(file.refused.reasons.most_common()),
        unreadable=dict(file.unreadable),
        statuses=dict(file.statuses),
        notes=dict(file.notes),
    )
