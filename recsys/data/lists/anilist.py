"""AniList: the account export `gdpr_data.json`, and lists as the GraphQL query `MediaListCollection` returns them.

The account export has neither titles nor MAL ids, only AniList's own ids. AniList began with the ids of MAL, and up to
20,000 they still name the same titles; above they do not, and such entries stay without an id.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from recsys.data.lists.content import ListContent
from recsys.data.lists.entries import (
    MANGA_SKIPPED,
    ParsedList,
    ScoredEntry,
    check_entry_count,
    parse_item_id,
    parse_score,
    parse_title,
)
from recsys.data.lists.scores import ScoreFormat
from recsys.data.lists.statuses import ANILIST_NUMBERS, parse_status
from recsys.exceptions import WatchListError
from recsys.types import ItemId

MAX_SHARED_ID: Final = 20_000
MALFORMED: Final = "malformed entry left out"
OTHER_ID: Final = "AniList id without a MAL id"

_MANGA = (1, "1", "MANGA")
_TITLES = ("romaji", "english", "native", "userPreferred")


def recognises_account(content: ListContent) -> bool:
    """Tell whether this is `gdpr_data.json`: rows with AniList's ids under `lists`, or none and the rest of it."""
    document = content.document
    if not isinstance(document, dict) or not isinstance(document.get("lists"), list):
        return False
    rows = document["lists"]
    named = any(isinstance(row, dict) and "series_id" in row for row in rows[:100])
    return named or (not rows and "activity" in document)


def parse_account(content: ListContent) -> ParsedList:
    """Read the anime of an account export; its scores are on 0..100 whatever the user's format.

    Raises
    ------
    WatchListTooLargeError
        If there are more entries than are read.
    """
    notes: Counter[str] = Counter()
    entries: list[ScoredEntry] = []
    for row in content.document["lists"]:
        if not isinstance(row, dict):
            notes[MALFORMED] += 1
        elif row.get("series_type") in _MANGA:
            notes[MANGA_SKIPPED] += 1
        else:
            check_entry_count(len(entries) + 1)
            item_id = _to_mal_id(parse_item_id(row.get("series_id")), notes)
            status = parse_status(row.get("status"), ANILIST_NUMBERS, notes)
            entries.append(
                ScoredEntry(item_id, None, parse_score(row.get("score")), status, _name_source(row.get("series_id")))
            )
    return ParsedList(entries, ScoreFormat.Point100, notes)


def _to_mal_id(item_id: ItemId | None, notes: Counter[str]) -> ItemId | None:
    if item_id is None or item_id <= MAX_SHARED_ID:
        return item_id
    notes[OTHER_ID] += 1
    return None


def _name_source(anilist_id: Any) -> str | None:
    item_id = parse_item_id(anilist_id)
    return None if item_id is None else f"AniList {item_id}"


def recognises_collection(content: ListContent) -> bool:
    """Tell whether this is JSON; what it holds is seen when it is parsed."""
    return content.document is not None


def parse_collection(content: ListContent) -> ParsedList:
    """Read lists of entries; a title of several custom lists is there several times.

    Raises
    ------
    WatchListError
        If there is nothing like an entry.
    WatchListTooLargeError
        If there are more entries than are read.
    """
    collection = _find_collection(content.document)
    notes: Counter[str] = Counter()
    entries: list[ScoredEntry] = []
    for entry in _iterate_entries(collection):
        media = entry.get("media") if isinstance(entry, dict) else None
        if not isinstance(media, dict):
            notes[MALFORMED] += 1
        elif media.get("type") in _MANGA:
            notes[MANGA_SKIPPED] += 1
        else:
            check_entry_count(len(entries) + 1)
            entries.append(_build_entry(entry, media, notes))
    if not entries and notes[MALFORMED]:
        raise WatchListError("no entry of the JSON file has a `media`; query id, idMal and title of it")
    return ParsedList(entries, _find_score_format(collection), notes)


def _build_entry(entry: dict[str, Any], media: dict[str, Any], notes: Counter[str]) -> ScoredEntry:
    titles = media.get("title")
    names = [titles.get(name) for name in _TITLES] if isinstance(titles, dict) else [titles]
    return ScoredEntry(
        item_id=parse_item_id(media.get("idMal")),
        title=next((title for name in names if (title := parse_title(name)) is not None), None),
        score=parse_score(entry.get("score")),
        status=parse_status(entry.get("status"), ANILIST_NUMBERS, notes),
        source_id=_name_source(media.get("id")),
    )


def _find_collection(document: Any) -> dict[str, Any]:
    """Return what holds the lists, whether it came wrapped as a response, as one list or as bare entries."""
    for name in ("data", "MediaListCollection"):
        if isinstance(document, dict) and name in document:
            document = document[name]
    if isinstance(document, list):
        return {"lists": document}
    if isinstance(document, dict) and isinstance(document.get("entries"), list):
        return {"lists": [document]}
    if isinstance(document, dict) and isinstance(document.get("lists"), list):
        return document
    raise WatchListError(
        "the JSON file is neither AniList's gdpr_data.json nor a MediaListCollection: it has no `lists` or `entries`"
    )


def _iterate_entries(collection: dict[str, Any]) -> Iterator[Any]:
    for group in collection["lists"]:
        if isinstance(group, dict) and isinstance(group.get("entries"), list):
            yield from group["entries"]
        else:
            yield group  # bare entries


def _find_score_format(collection: dict[str, Any]) -> ScoreFormat:
    value: Any = collection
    for name in ("user", "mediaListOptions", "scoreFormat"):
        value = value.get(name) if isinstance(value, dict) else None
    return ScoreFormat(value) if value in list(ScoreFormat) else ScoreFormat.Point10Decimal
