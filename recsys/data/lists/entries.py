"""What a watch list holds, as its file says it and as it is taken in."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from recsys.data.contracts import MAX_ID
from recsys.data.folding import MAX_QUERY_LENGTH
from recsys.data.lists.scores import ScoreFormat
from recsys.exceptions import WatchListTooLargeError
from recsys.types import ItemId, WatchStatus

MAX_ENTRIES: Final = 100_000
MANGA_SKIPPED: Final = "manga left out"

_DIGITS = re.compile(r"[0-9]{1,19}(?:\.0+)?")
_NUMBER = re.compile(r"[0-9]{1,19}(?:[.,][0-9]{1,19})?")


@dataclass(frozen=True)
class ScoredEntry:
    """One entry as the file has it: `score` on the scale of the file, None where it holds no number."""

    item_id: ItemId | None
    title: str | None
    score: float | None
    status: WatchStatus
    source_id: str | None = None


@dataclass(frozen=True)
class ParsedList:
    """The entries of a file in its order.

    Parameters
    ----------
    score_format
        The one that the file names, or that its format prescribes.
    notes
        What was left out or taken for something else, with how often.
    """

    entries: Sequence[ScoredEntry]
    score_format: ScoreFormat
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ListEntry:
    """One entry: a MAL id or a title or both, a rating 1..10 or None for "not rated", and the status.

    `source_id` is what the site itself calls the title, such as `AniList 20665`, where that is not its MAL id.
    """

    item_id: ItemId | None
    title: str | None
    rating: int | None
    status: WatchStatus
    source_id: str | None = None


@dataclass(frozen=True)
class WatchList:
    """A list, read: the name of its format, the scale of its scores, its entries and the notes of `ParsedList`."""

    format: str
    score_format: ScoreFormat
    entries: Sequence[ListEntry]
    notes: Counter[str]


def parse_item_id(value: Any) -> ItemId | None:
    """Return a MAL id 1..2^63 - 1; None for 0, which converters write for "none", and for anything else."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text.partition(".")[0]) if _DIGITS.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= MAX_ID else None


def parse_score(value: Any) -> float | None:
    """Return a finite number >= 0, written as a number or a text with a point or a comma; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MAX_ID and math.isfinite(value) else None


def parse_title(value: Any) -> str | None:
    """Return a title without control characters and lone surrogates, cut to the length of a query; None if empty."""
    if not isinstance(value, str):
        return None
    text = value[: 2 * MAX_QUERY_LENGTH].encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:MAX_QUERY_LENGTH] or None


def check_entry_count(n_entries: int) -> None:
    """Stop at more entries than are read.

    Raises
    ------
    WatchListTooLargeError
        Beyond `MAX_ENTRIES`.
    """
    if n_entries > MAX_ENTRIES:
        raise WatchListTooLargeError(f"the list has more than {MAX_ENTRIES:,} entries; split it")
