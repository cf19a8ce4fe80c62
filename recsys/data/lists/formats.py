"""The registry of formats, and the one way from bytes to a watch list."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from recsys.data.lists import anilist, myanimelist, yamtrack
from recsys.data.lists.content import ListContent, read_content
from recsys.data.lists.entries import ListEntry, ParsedList, WatchList
from recsys.data.lists.scores import ScoreFormat, convert_score, select_score_format
from recsys.exceptions import WatchListError
from recsys.types import WatchStatus

OUT_OF_SCALE: Final = "score outside the scale, taken for unrated"
PLANNED_SCORE: Final = "score of a planned title left out"


@dataclass(frozen=True)
class ListFormat:
    """A format: its name, what a user knows it as, how it is recognised, and how its entries are read."""

    name: str
    description: str
    recognises: Callable[[ListContent], bool]
    parse: Callable[[ListContent], ParsedList]


# The first that recognises a file reads it: the more particular ones stand in front.
FORMATS: Final = (
    ListFormat(
        "myanimelist-xml",
        "MyAnimeList export (.xml, .xml.gz)",
        myanimelist.recognises_xml,
        myanimelist.parse_xml,
    ),
    ListFormat(
        "anilist-account",
        "AniList account export (gdpr_data.json)",
        anilist.recognises_account,
        anilist.parse_account,
    ),
    ListFormat(
        "anilist-collection",
        "AniList MediaListCollection (.json)",
        anilist.recognises_collection,
        anilist.parse_collection,
    ),
    ListFormat("yamtrack-csv", "Yamtrack export (.csv)", yamtrack.recognises_csv, yamtrack.parse_csv),
)


def parse_watch_list(content: bytes, *, score_format: ScoreFormat | None = None) -> WatchList:
    """Read the bytes of a list in whichever format they are, packed by gzip or not.

    Parameters
    ----------
    score_format
        The scale of the scores; None takes that of the file, see `select_score_format`.

    Raises
    ------
    WatchListTooLargeError
        If it has more bytes, entries or values than are read.
    WatchListError
        If it is in no known format, or malformed.
    """
    read = read_content(content)
    found = next((form for form in FORMATS if form.recognises(read)), None)
    if found is None:
        known = "; ".join(form.description for form in FORMATS)
        raise WatchListError(f"the file is in no known format; these are read: {known}")
    parsed = found.parse(read)
    notes = Counter(parsed.notes)
    if read.encoding != "utf-8":
        notes[f"text read as {read.encoding}"] += 1
    scores = [entry.score for entry in parsed.entries if entry.score]
    scale = score_format or select_score_format(scores, parsed.score_format)
    return WatchList(found.name, scale, _rate_entries(parsed, scale, notes), notes)


def _rate_entries(parsed: ParsedList, scale: ScoreFormat, notes: Counter[str]) -> list[ListEntry]:
    """Convert scores to ratings; a planned title was not watched, and what it was scored says nothing of taste."""
    entries = []
    for entry in parsed.entries:
        rating = convert_score(entry.score, scale) if entry.score else None
        if entry.score and rating is None:
            notes[OUT_OF_SCALE] += 1
        if entry.status is WatchStatus.Planned and rating is not None:
            notes[PLANNED_SCORE] += 1
            rating = None
        entries.append(ListEntry(entry.item_id, entry.title, rating, entry.status, entry.source_id))
    return entries
