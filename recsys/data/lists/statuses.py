"""The words and numbers that sites have for a status, all in one table: no two sites mean different things by one."""

import re
from collections import Counter
from typing import Any, Final

from recsys.types import WatchStatus

_WORDS: Final = {
    WatchStatus.Completed: ("completed", "repeating", "rewatching", "watched", "seen", "finished"),
    WatchStatus.Watching: ("watching", "currentlywatching", "current", "inprogress"),
    WatchStatus.OnHold: ("onhold", "paused"),
    WatchStatus.Dropped: ("dropped",),
    WatchStatus.Planned: ("plantowatch", "planning", "planned"),
}
STATUS_WORDS: Final = {word: status for status, words in _WORDS.items() for word in words}
# MAL's numbers; 5 was never given out.
MAL_NUMBERS: Final = {
    1: WatchStatus.Watching,
    2: WatchStatus.Completed,
    3: WatchStatus.OnHold,
    4: WatchStatus.Dropped,
    6: WatchStatus.Planned,
}
# The numbers of AniList's account export; 5 is "repeating".
ANILIST_NUMBERS: Final = {
    0: WatchStatus.Watching,
    1: WatchStatus.Planned,
    2: WatchStatus.Completed,
    3: WatchStatus.Dropped,
    4: WatchStatus.OnHold,
    5: WatchStatus.Completed,
}
UNKNOWN_STATUS: Final = "status unknown, taken for watching"
_LETTERS = re.compile(r"[^a-z]+")


def parse_status(value: Any, numbers: dict[int, WatchStatus], notes: Counter[str]) -> WatchStatus:
    """Read a status written as a word in any case and spacing or as one of a site's numbers.

    An unknown one counts as watching, which neither plans nor completes anything, and is noted.
    """
    if isinstance(value, str):
        found = STATUS_WORDS.get(_LETTERS.sub("", value[:40].lower()))
        text = value.strip()
        if found is None and len(text) == 1 and text in "0123456789":
            found = numbers.get(int(text))
    else:
        found = numbers.get(value) if isinstance(value, int) and not isinstance(value, bool) else None
    if found is None:
        notes[UNKNOWN_STATUS] += 1
        return WatchStatus.Watching
    return found
