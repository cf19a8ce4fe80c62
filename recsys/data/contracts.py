"""What a rating and an item must fulfil to be taken in; whatever does not is refused with a reason, never dropped.

A rating: a user id 0..2^63 - 1 (Kaggle's first user is number 0), an item id 1..2^63 - 1 that the catalog holds, a
whole number 1..10, and one rating per user and item. Where a file rates a pair more than once, its last line holds,
because lists are appended to; earlier lines are refused as duplicates or, if they say something else, as superseded.
A list entry without a rating: such a pair, and a status. An item: such an id that occurs once (its first line holds,
the others are refused), and a title.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.columns import Columns
from recsys.data.sources.rows import RawBatch, Refused, build_refused
from recsys.data.sources.statuses import NO_STATUS, parse_statuses
from recsys.data.sources.users import hash_user_names
from recsys.types import Ids, Mask, WatchStatus

LINE: Final = "line"
MAX_ID: Final = 2**63 - 1
BOUNDS: Final = {Columns.User: (0, MAX_ID), Columns.Item: (1, MAX_ID), Columns.Rating: (1, 10)}
# What stands in the column of ratings for a list entry without one, until the two are told apart.
UNRATED: Final = 0

UNKNOWN_ITEM: Final = "unknown item"
DUPLICATE_RATING: Final = "duplicate rating"
SUPERSEDED_RATING: Final = "superseded rating"
DUPLICATE_ITEM: Final = "duplicate item"
MISSING_TITLE: Final = "title is missing"
MISSING: Final = "is missing"
NOT_WHOLE: Final = "is not a whole number"
OUT_OF_RANGE: Final = "is out of range"
UNKNOWN_STATUS: Final = "status is unknown"

_WHOLE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_NULLS = frozenset({"", "nan", "null", "none", "na", "n/a", "<na>"})


@dataclass(frozen=True)
class RatingRules:
    """How a layout says what a rating file may leave out.

    Parameters
    ----------
    unrated
        The rating of an entry that has none; None if every row must have one. With a column of statuses, an empty
        rating says the same.
    unrated_status
        The status of such an entry where the file has no column of statuses.
    users_are_names
        Whether users are identified by names, of which `hash_user_names` makes ids.
    """

    unrated: int | None = None
    unrated_status: WatchStatus | None = None
    users_are_names: bool = False


ALL_RATED: Final = RatingRules()


@dataclass(frozen=True)
class ParsedIntegers:
    """Whole numbers out of texts; `problems` is "" where the value is good, else why it is not."""

    values: Ids
    problems: npt.NDArray[np.object_]


def parse_integers(texts: Sequence[str], *, lower: int, upper: int) -> ParsedIntegers:
    """Parse whole numbers `lower..upper`, written as `7` or `7.0`; a bad value is 0 and has a problem."""
    values = _parse_plain_integers(texts)
    problems = np.full(len(texts), "", dtype=object)
    if values is None:
        # One odd value among many thousands: look at each.
        parsed = [_parse_integer(text) for text in texts]
        values = np.array([value if isinstance(value, int) else 0 for value in parsed], dtype=np.int64)
        problems = np.array(["" if isinstance(value, int) else value for value in parsed], dtype=object)
    problems[(problems == "") & ((values < lower) | (values > upper))] = OUT_OF_RANGE
    return ParsedIntegers(values, problems)


def _parse_plain_integers(texts: Sequence[str]) -> Ids | None:
    """Parse texts that all are whole numbers, all at once; None if one of them is not."""
    column = pa.array(texts, pa.string())
    try:
        return np.asarray(column.cast(pa.int64()))
    except pa.ArrowInvalid:
        pass
    try:
        return np.asarray(pc.replace_substring_regex(column, r"^([0-9]+)\.0*$", r"\1").cast(pa.int64()))
    except pa.ArrowInvalid:
        return None


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
    """Good rows (`user_id`, `item_id`, `rating`, `status`, `line`) and refused ones.

    `rating` is `UNRATED` in an entry without one; `status` is a position in `list(WatchStatus)`, `NO_STATUS` where it
    is not known. `unreadable` counts statuses that are no status, by column; their rows are in the table.
    """

    table: pd.DataFrame
    refused: list[Refused]
    unreadable: Counter[str] = field(default_factory=Counter)


def check_ratings(batch: RawBatch, known_items: Ids, rules: RatingRules = ALL_RATED) -> CheckedRatings:
    """Check some rows of a rating file; pairs that occur twice are left to `select_last_ratings`.

    Parameters
    ----------
    batch
        Its columns are user, item, rating and, where the layout has it, status, in this order.
    known_items
        Item ids of the catalog, ascending.
    rules
        Those of the layout.
    """
    users, items, ratings = _parse_ratings(batch, rules)
    is_unrated = _find_unrated(ratings, rules, has_status=len(batch.columns) > 3)
    statuses, unknown_status = _parse_statuses(batch, is_unrated, rules)
    reasons = np.full(len(batch.lines), "", dtype=object)
    for name, parsed in ((Columns.Rating, ratings), (Columns.Item, items), (Columns.User, users)):
        bad = parsed.problems != ""
        if name == Columns.Rating:
            bad &= ~is_unrated
        reasons[bad] = f"{name} " + parsed.problems[bad]
    reasons[(reasons == "") & is_unrated & (statuses == NO_STATUS)] = UNKNOWN_STATUS
    reasons[(reasons == "") & ~_isin_sorted(items.values, known_items)] = UNKNOWN_ITEM
    kept = reasons == ""
    lines = np.asarray(batch.lines, dtype=np.int64)
    table = pd.DataFrame(
        {
            Columns.User: users.values[kept],
            Columns.Item: items.values[kept],
            Columns.Rating: np.where(is_unrated, UNRATED, ratings.values)[kept].astype(np.int8),
            Columns.Status: statuses[kept],
            LINE: lines[kept],
        }
    )
    unreadable = Counter({Columns.Status: n} if (n := int((unknown_status & kept).sum())) else {})
    return CheckedRatings(table, _refuse(batch, reasons, users.values, rules), unreadable)


def _parse_ratings(batch: RawBatch, rules: RatingRules) -> list[ParsedIntegers]:
    """Parse user, item and rating; the value that means "unrated" is no problem."""
    lower, upper = BOUNDS[Columns.Rating]
    if rules.users_are_names:
        users = hash_user_names(batch.columns[0])
        first = ParsedIntegers(users, np.where(users < 0, MISSING, "").astype(object))
    else:
        first = parse_integers(batch.columns[0], lower=BOUNDS[Columns.User][0], upper=BOUNDS[Columns.User][1])
    second = parse_integers(batch.columns[1], lower=BOUNDS[Columns.Item][0], upper=BOUNDS[Columns.Item][1])
    ratings = parse_integers(batch.columns[2], lower=min(lower, rules.unrated or UNRATED), upper=upper)
    too_low = (ratings.problems == "") & (ratings.values < lower) & (ratings.values != rules.unrated)
    ratings.problems[too_low] = OUT_OF_RANGE
    return [first, second, ratings]


def _find_unrated(ratings: ParsedIntegers, rules: RatingRules, *, has_status: bool) -> Mask:
    if rules.unrated is None:
        return np.zeros(len(ratings.values), dtype=np.bool_)
    found = (ratings.problems == "") & (ratings.values == rules.unrated)
    return np.asarray(found | (ratings.problems == MISSING) if has_status else found, dtype=np.bool_)


def _parse_statuses(batch: RawBatch, is_unrated: Mask, rules: RatingRules) -> tuple[npt.NDArray[np.int8], Mask]:
    """Return the status of each row as a position, and which rows name one that is not known."""
    if len(batch.columns) > 3:
        return parse_statuses(batch.columns[3])
    known = NO_STATUS if rules.unrated_status is None else list(WatchStatus).index(rules.unrated_status)
    return np.where(is_unrated, known, NO_STATUS).astype(np.int8), np.zeros(len(batch.lines), dtype=np.bool_)


def _refuse(batch: RawBatch, reasons: npt.NDArray[np.object_], users: Ids, rules: RatingRules) -> list[Refused]:
    refused = []
    for row in np.flatnonzero(reasons != "").tolist():
        fields = [texts[row] for texts in batch.columns]
        if rules.users_are_names:
            fields[0] = str(users[row]) if users[row] >= 0 else ""
        refused.append(build_refused(int(batch.lines[row]), str(reasons[row]), ",".join(fields)))
    return refused


def select_last_ratings(table: pd.DataFrame) -> tuple[pd.DataFrame, Iterator[Refused]]:
    """Keep the last line of every user and item and refuse the earlier ones.

    Parameters
    ----------
    table
        The columns of `CheckedRatings.table`, over the whole file, lines ascending.

    Returns
    -------
    The kept rows, ascending by user and item, without `line`; and what was refused.
    """
    order = np.lexsort((table[Columns.Item].to_numpy(), table[Columns.User].to_numpy()))
    table = table.take(order).reset_index(drop=True)
    repeated = table.duplicated(Columns.UserItem, keep="last").to_numpy()
    kept = table.loc[~repeated].drop(columns=LINE).reset_index(drop=True)
    return kept, _refuse_earlier(table[repeated], kept)


def _refuse_earlier(repeated: pd.DataFrame, kept: pd.DataFrame) -> Iterator[Refused]:
    """Yield rows that a later line of the file repeats or supersedes."""
    earlier = repeated.merge(kept, on=Columns.UserItem, suffixes=("", "_kept"))
    same = (earlier[Columns.Rating] == earlier[f"{Columns.Rating}_kept"]) & (
        earlier[Columns.Status] == earlier[f"{Columns.Status}_kept"]
    )
    reasons = np.where(same, DUPLICATE_RATING, SUPERSEDED_RATING)
    columns = [earlier[name].to_numpy() for name in (*Columns.Interactions, Columns.Status, LINE)]
    for reason, *row in zip(reasons, *columns, strict=True):
        *entry, line = map(int, row)
        yield build_refused(line, str(reason), _describe_entry(entry))


def _describe_entry(entry: Sequence[int]) -> str:
    """Write a checked row as a line of a file: an entry without a rating has an empty one."""
    user_id, item_id, rating, status = entry
    text = f"{user_id},{item_id},{'' if rating == UNRATED else rating}"
    return text if status == NO_STATUS else f"{text},{list(WatchStatus)[status]}"


def _isin_sorted(values: Ids, known: Ids) -> Mask:
    if not len(known):
        return np.zeros(len(values), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[places] == values, dtype=np.bool_)
