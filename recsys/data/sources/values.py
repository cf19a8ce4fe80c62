"""Values of single fields as MyAnimeList spells them: missing values, numbers, dates, durations, lists, titles."""

import calendar
import html
import math
import re
from datetime import date

_MISSING = frozenset(
    {"", "unknown", "nan", "none", "null", "n/a", "not available", "none found", "none found, add some", "add some"}
)
_MISSING_TITLES = frozenset({"", "unknown", "nan"})
_PLACEHOLDER = re.compile(r"no synopsis (information )?(has|have) been added", re.IGNORECASE)
# Not `calendar.month_abbr`, which speaks the language of the machine.
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DATE = re.compile(r"(?:(?P<month>[A-Z][a-z]{2})(?: +(?P<day>\d{1,2}))?, +)?(?P<year>(?:18|19|20)\d\d)")
_ISO_DATE = re.compile(r"(?P<year>(?:18|19|20)\d\d)-(?P<month>\d\d)-(?P<day>\d\d)(?:[ T].*)?")
_DURATION = re.compile(r"(?:(\d+) hrs?\.?)? ?(?:(\d+) mins?\.?)? ?(?:(\d+) secs?\.?)?(?: per ep\.?)?")


def is_missing(text: str) -> bool:
    """Tell whether a field says that its value is not known.

    Examples
    --------
    >>> is_missing("Unknown"), is_missing(" "), is_missing("Known")
    (True, True, False)
    """
    return text.strip().lower() in _MISSING


def parse_text(text: str) -> str | None:
    """Strip a text and turn HTML entities into characters; None where it is missing.

    Examples
    --------
    >>> parse_text("Gintama&#039;: Enchousen ")
    "Gintama': Enchousen"
    """
    return None if is_missing(text) else html.unescape(text).strip() or None


def parse_title(text: str) -> str | None:
    """Parse a default title, which may well be a word that means "missing" elsewhere."""
    return None if text.strip().lower() in _MISSING_TITLES else html.unescape(text).strip() or None


def parse_synopsis(text: str) -> str | None:
    """Parse a synopsis; the sentences that stand in for one are None.

    Examples
    --------
    >>> parse_synopsis("No synopsis has been added for this series yet. Click here to update this information.")
    """
    return None if _PLACEHOLDER.match(text.strip()) else parse_text(text)


def parse_list(text: str) -> list[str]:
    """Split at commas; blanks, missing values and repetitions are left out.

    Examples
    --------
    >>> parse_list("Action, Sci-Fi,  Space, Action")
    ['Action', 'Sci-Fi', 'Space']
    """
    if is_missing(text):
        return []
    parts = (html.unescape(part).strip() for part in text.split(","))
    return list(dict.fromkeys(part for part in parts if not is_missing(part)))


def parse_number(text: str, *, upper: float = math.inf) -> float:
    """Parse a number 0..upper; NaN where it is missing.

    Raises
    ------
    ValueError
        If it is neither missing nor such a number.
    """
    if is_missing(text):
        return math.nan
    value = float(text)
    if not (math.isfinite(value) and 0 <= value <= upper):
        raise ValueError(f"{text!r} is not a number in 0..{upper:g}")
    return value


def parse_duration(text: str) -> float:
    """Parse a running time into minutes; NaN where it is missing.

    Raises
    ------
    ValueError
        If it is neither missing nor a running time.

    Examples
    --------
    >>> parse_duration("1 hr. 55 min."), parse_duration("24 min. per ep."), parse_duration("30 sec.")
    (115.0, 24.0, 0.5)
    """
    if is_missing(text):
        return math.nan
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is not a running time")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 60 + minutes + seconds / 60


def parse_aired(text: str) -> tuple[date | None, date | None]:
    """Parse when a title aired, from and to.

    An incomplete start means the first day of its month or year, an incomplete end the last one; a single date is both.

    Raises
    ------
    ValueError
        If it is neither missing nor such a period.

    Examples
    --------
    >>> parse_aired("Apr 3, 1998 to Apr, 1999")
    (datetime.date(1998, 4, 3), datetime.date(1999, 4, 30))
    >>> parse_aired("Apr, 1998 to ?")
    (datetime.date(1998, 4, 1), None)
    >>> parse_aired("2003")
    (datetime.date(2003, 1, 1), datetime.date(2003, 12, 31))
    """
    if is_missing(text):
        return None, None
    start, separator, end = text.partition(" to ")
    return _parse_date(start, last=False), _parse_date(end if separator else start, last=True)


def _parse_date(text: str, *, last: bool) -> date | None:
    text = text.strip()
    if text == "?" or is_missing(text):
        return None
    found = _DATE.fullmatch(text) or _ISO_DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date")
    year, spelled = int(found["year"]), found["month"]
    if spelled is None:
        return date(year, 12, 31) if last else date(year, 1, 1)
    month = int(spelled) if spelled.isdigit() else _MONTHS.index(spelled) + 1
    if found["day"] is not None:
        return date(year, month, int(found["day"]))
    return date(year, month, calendar.monthrange(year, month)[1] if last else 1)
