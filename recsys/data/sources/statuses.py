"""The status of a list entry, as MyAnimeList and its exports spell it: by number or in words."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.types import Mask, WatchStatus

NO_STATUS = -1
_SPELLINGS = {
    "1": WatchStatus.Watching,
    "2": WatchStatus.Completed,
    "3": WatchStatus.OnHold,
    "4": WatchStatus.Dropped,
    "6": WatchStatus.Planned,
    "watching": WatchStatus.Watching,
    "currently_watching": WatchStatus.Watching,
    "completed": WatchStatus.Completed,
    "on_hold": WatchStatus.OnHold,
    "onhold": WatchStatus.OnHold,
    "dropped": WatchStatus.Dropped,
    "plan_to_watch": WatchStatus.Planned,
    "plantowatch": WatchStatus.Planned,
    "planned": WatchStatus.Planned,
}


def parse_status(text: str) -> WatchStatus | None:
    """Parse a status; None where there is none or it is not known.

    Examples
    --------
    >>> parse_status("6"), parse_status("Plan to Watch"), parse_status("5")
    (<WatchStatus.Planned: 'planned'>, <WatchStatus.Planned: 'planned'>, None)
    """
    return _SPELLINGS.get(re.sub(r"[^a-z0-9]+", "_", text.strip().lower().removesuffix(".0")).strip("_"))


def parse_statuses(texts: Sequence[str]) -> tuple[npt.NDArray[np.int8], Mask]:
    """Parse many statuses at once.

    Returns
    -------
    Positions in `list(WatchStatus)`, `NO_STATUS` where there is none; and which texts say something unknown.
    """
    column = pa.array(texts, pa.string()).dictionary_encode()
    spellings = column.dictionary.to_pylist()
    known = list(WatchStatus)
    parsed = [parse_status(text) for text in spellings]
    codes = np.array([NO_STATUS if status is None else known.index(status) for status in parsed], dtype=np.int8)
    unknown = np.array(
        [status is None and bool(text.strip()) for text, status in zip(spellings, parsed, strict=True)], dtype=np.bool_
    )
    rows = np.asarray(column.indices)
    return codes[rows], unknown[rows]
