"""What a rating and an item must fulfil to be taken in; whatever does not is refused with a reason, never dropped.

A rating: a user id 0..2^63 - 1 (Kaggle's first user is number 0), an item id 1..2^63 - 1 that the catalog holds, a
whole number 1..10, and one rating per user and item. Where a file rates a pair more than once, its last line holds,
because lists are appended to; earlier lines are refused as duplicates or, if they say something else, as superseded.
An item: such an id that occurs once (its first line holds, the others are refused), and a title.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from recsys.columns import Columns
from recsys.data.sources.rows import RawBatch, Refused, build_refused
from recsys.types import Ids, Mask

LINE: Final = "line"
MAX_ID: Final = 2**63 - 1
BOUNDS: Final = {Columns.User: (0, MAX_ID), Columns.Item: (1, MAX_ID), Columns.Rating: (1, 10)}

UNKNOWN_ITEM: Final = "unknown item"
DUPLICATE_RATING: Final = "duplicate rating"
SUPERSEDED_RATING: Final = "superseded rating"
DUPLICATE_ITEM: Final = "duplicate item"
MISSING_TITLE: Final = "title is missing"
MISSING: Final = "is missing"
NOT_WHOLE: Final = "is not a whole number"
OUT_OF_RANGE: Final = "is out of range"

_WHOLE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_NULLS = frozenset({"", "nan", "null", "none", "na", "n/a", "<na>"})


@dataclass(frozen=True)
class ParsedIntegers:
    """Whole numbers out of texts; `problems` is "" where the value is good, else why it is not."""

    values: Ids
    problems: npt.NDArray[np.object_]


def parse_integers(texts: Sequence[str], *, lower: int, upper: int) -> ParsedIntegers:
    """Parse whole numbers `lower..upper`, written as `7` or `7.0`; a bad value is 0 and has a problem."""
    try:
        values = np.asarray(pa.array(texts, pa.string()).cast(pa.int64()))
        problems = np.full(len(texts), "", dtype=object)
    except pa.ArrowInvalid:
        # One odd value among many thousands: look at each.
        parsed = [_parse_integer(text) for text in texts]
        values = np.array([value if isinstance(value, int) else 0 for value in parsed], dtype=np.int64)
        problems = np.array(["" if isinstance(value, int) else value for value in parsed], dtype=object)
    problems[(problems == "") & ((values < lower) | (values > upper))] = OUT_OF_RANGE
    return ParsedIntegers(values, problems)


def _parse_integer(text: str) -> int | str:
    text = text.strip()
    if text.lower() in _NULLS:
        return MISSING
    found = _WHOLE.fullmatch(text)
    if found is None:
        return NOT_WHOLE
    # Python refuses to convert absurdly long digits; those overflow anyhow.
    value = int(found[1]) if len(found[1]) <= 20 else MAX_ID + 1
    return value if -MAX_ID <= value <= MAX_ID else OUT_OF_RANGE


@dataclass(frozen=True)
class CheckedRatings:
    """Good ratings (`user_id`, `item_id`, `rating`, `line`), refused rows, and rows that only say "watched"."""

    table: pd.DataFrame
    refused: list[Refused]
    n_unrated: int


def check_ratings(batch: RawBatch, known_items: Ids, *, unrated: int | None) -> CheckedRatings:
    """Check some rows of a rating file; pairs that occur twice are left to `select_last_ratings`.

    Parameters
    ----------
    batch
        Its columns are user, item and rating, in this order.
    known_items
        Item ids of the catalog, ascending.
    unrated
        The value that means "watched, not rated"; None where the layout has none.
    """
    parsed = {
        name: parse_integers(texts, lower=BOUNDS[name][0], upper=BOUNDS[name][1])
        for name, texts in zip(Columns.Interactions, batch.columns, strict=True)
    }
    reasons = np.full(len(batch.lines), "", dtype=object)
    for name in reversed(Columns.Interactions):
        bad = parsed[name].problems != ""
        reasons[bad] = f"{name} " + parsed[name].problems[bad]
    is_unrated = np.zeros(len(reasons), dtype=np.bool_)
    if unrated is not None:
        good_ids = (parsed[Columns.User].problems == "") & (parsed[Columns.Item].problems == "")
        is_unrated = good_ids & (parsed[Columns.Rating].values == unrated)
        reasons[is_unrated] = ""
    reasons[(reasons == "") & ~is_unrated & ~_isin_sorted(parsed[Columns.Item].values, known_items)] = UNKNOWN_ITEM
    kept = (reasons == "") & ~is_unrated
    lines = np.asarray(batch.lines, dtype=np.int64)
    table = pd.DataFrame({name: parsed[name].values[kept] for name in Columns.Interactions})
    table[Columns.Rating] = table[Columns.Rating].astype(np.int8)
    table[LINE] = lines[kept]
    refused = [
        build_refused(int(lines[row]), str(reasons[row]), ",".join(texts[row] for texts in batch.columns))
        for row in np.flatnonzero(reasons != "").tolist()
    ]
    return CheckedRatings(table, refused, int(is_unrated.sum()))


def select_last_ratings(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Refused]]:
    """Keep the last line of every user and item and refuse the earlier ones.

    Parameters
    ----------
    table
        `user_id`, `item_id`, `rating`, `line`, over the whole file.

    Returns
    -------
    The kept ratings, ascending by user and item, without `line`; and what was refused.
    """
    table = table.sort_values([*Columns.UserItem, LINE], ignore_index=True)
    repeated = table.duplicated(Columns.UserItem, keep="last")
    kept = table.loc[~repeated, Columns.Interactions].reset_index(drop=True)
    if not repeated.any():
        return kept, []
    earlier = table[repeated].merge(kept, on=Columns.UserItem, suffixes=("", "_kept"))
    same = earlier[Columns.Rating] == earlier[f"{Columns.Rating}_kept"]
    reasons = np.where(same, DUPLICATE_RATING, SUPERSEDED_RATING)
    refused = [
        build_refused(row[3], str(reason), ",".join(map(str, row[:3])))
        for reason, row in zip(reasons, earlier[[*Columns.Interactions, LINE]].to_numpy().tolist(), strict=True)
    ]
    return kept, refused


def _isin_sorted(values: Ids, known: Ids) -> Mask:
    if not len(known):
        return np.zeros(len(values), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[places] == values, dtype=np.bool_)
