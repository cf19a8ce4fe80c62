"""Values of single fields as MyAnimeList spells them: missing values, numbers, dates, durations, lists, titles."""

import ast
import calendar
import html
import math
import re
from datetime import date

from recsys.data.sources.labels import fold_genres

_MISSING = frozenset(
    {"", "unknown", "nan", "none", "null", "n/a", "not available", "none found", "none found, add some", "add some"}
)
_LONGEST_MISSING = 64  # characters, blanks included
_MISSING_TITLES = frozenset({"", "unknown", "nan"})
# "No synopsis has been added …", "No description available …", "There is no summary yet …" and the like. What follows
# must be about the lack, so that "No description can do justice to …" remains.
_PLACEHOLDER = re.compile(
    r"(sorry, |there is |currently )*(no|n't any) (synopsis|description|summary|plot|overview|information)"
    r"( information| text| summary)?( (has|have|was|is|are)( not)?( been)?( yet)?)*"
    r"( (added|available|provided|given|found|written|yet|for this|to this|in the database)|[.!]?$)",
    re.IGNORECASE,
)
MAX_ESCAPES = 3  # times that a text is unescaped at most
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
    return len(text) <= _LONGEST_MISSING and text.strip().lower() in _MISSING


def parse_text(text: str) -> str | None:
    """Strip a text and turn HTML entities into characters, also those escaped twice; None where it is missing.

    Examples
    --------
    >>> parse_text("Gintama&#039;: Enchousen "), parse_text("Gintama&amp;#039;")
    ("Gintama': Enchousen", "Gintama'")
    """
    return None if is_missing(text) else _unescape(text).strip() or None


def _unescape(text: str) -> str:
    for _ in range(MAX_ESCAPES):
        if "&" not in text or (plain := html.unescape(text)) == text:
            break
        text = plain
    return text


def parse_title(text: str) -> str | None:
    """Parse a default title, which may well be a word that means "missing" elsewhere."""
    return None if text.strip().lower() in _MISSING_TITLES else _unescape(text).strip() or None


def parse_synopsis(text: str) -> str | None:
    """Parse a synopsis; the sentences that stand in for one are None.

    Examples
    --------
    >>> parse_synopsis("No synopsis has been added for this series yet. Click here to update this information.")
    """
    return None if _PLACEHOLDER.match(text.strip()) else parse_text(text)


def parse_list(text: str) -> list[str]:
    """Split at commas, or at `|` where there is one; blanks, missing values and repetitions are left out.

    A list as Python or JSON writes it is taken as such.

    Examples
    --------
    >>> parse_list("Action, Sci-Fi,  Space, Action")
    ['Action', 'Sci-Fi', 'Space']
    >>> parse_list("['Steins;Gate 0', 'Fate/Zero, Part 1']")
    ['Steins;Gate 0', 'Fate/Zero, Part 1']
    """
    return _clean(_split(text, "|" if "|" in text else ","))


def parse_genres(text: str) -> list[str]:
    """Parse genres, separated by `,`, `|` or `;`, and give each its usual spelling.

    Examples
    --------
    >>> parse_genres("action|sci-fi"), parse_genres("['Comedy', 'Sports']"), parse_genres("Drama; Hentai")
    (['Action', 'Sci-Fi'], ['Comedy', 'Sports'], ['Drama', 'Hentai'])
    """
    return fold_genres(_clean(_split(text, ",|;")))


def _split(text: str, separators: str) -> list[str]:
    if is_missing(text):
        return []
    if text.lstrip().startswith("[") and text.rstrip().endswith("]"):
        try:
            return [str(part) for part in ast.literal_eval(text.strip())]
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            text = text.strip()[1:-1]
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return text.split(separators[0])


def _clean(parts: list[str]) -> list[str]:
    unescaped = [_unescape(part).strip() for part in parts]
    return list(dict.fromkeys([part for part in unescaped if not is_missing(part)]))


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


def parse_score(text: str) -> float:
    """Parse a mean score up to 10; 0 is what some sources write for titles that have none.

    Raises
    ------
    ValueError
        If it is neither missing nor such a number.
    """
    return parse_number(text, upper=10.0) or math.nan


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
