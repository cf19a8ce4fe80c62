"""Watch lists as files, and packed into the hidden field of a form, so that nothing has to be stored."""

import re
from typing import Final

from starlette.datastructures import FormData, ImmutableMultiDict

from app.models.serving import ServingModel
from app.schemas.base import MAX_RATINGS
from app.schemas.problems import ProblemError
from app.schemas.watch_lists import ListItem
from recsys.data.lists.entries import WatchList
from recsys.data.lists.formats import parse_watch_list
from recsys.data.lists.matching import MatchedEntry, MatchedList, match_watch_list
from recsys.exceptions import WatchListError, WatchListTooLargeError
from recsys.types import WatchStatus

# `id.rating.status ` of every entry that is taken.
MAX_PACKED: Final = MAX_RATINGS * 24

_STATUSES: Final = {status.value[0]: status for status in WatchStatus}
_ENTRY: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,2})\.([a-z])")


def read_file(model: ServingModel, content: bytes) -> tuple[WatchList, MatchedList]:
    """Read a file and look its titles up.

    Raises
    ------
    ProblemError
        413 or 422 naming what is wrong with the file.
    """
    try:
        read = parse_watch_list(content)
    except WatchListError as error:
        status = 413 if isinstance(error, WatchListTooLargeError) else 422
        raise ProblemError(status, "unreadable-list", str(error)) from error
    return read, match_watch_list(read, model.recommender.catalog, model.titles)


def get_texts(form: FormData) -> ImmutableMultiDict[str, str]:
    """Return the fields of a form that are no files."""
    return ImmutableMultiDict([(name, value) for name, value in form.multi_items() if isinstance(value, str)])


def pack_entries(entries: tuple[MatchedEntry, ...]) -> str:
    """Write entries as `id.rating.status`, a few bytes each, for a hidden field of a form."""
    taken = entries[:MAX_RATINGS]
    return " ".join(f"{entry.item_id}.{entry.rating or 0}.{_get_code(entry.status)}" for entry in taken)


def _get_code(status: WatchStatus) -> str:
    return status.value[0]


def read_entries(text: str) -> list[ListItem]:
    """Read what `pack_entries` wrote, as hostile as any form: what is not of that form is left out."""
    found = []
    for part in text.split()[:MAX_RATINGS]:
        match = _ENTRY.fullmatch(part)
        if match and int(match[2]) <= 10 and match[3] in _STATUSES:
            found.append(ListItem(item_id=int(match[1]), rating=int(match[2]), status=_STATUSES[match[3]]))
    return found
