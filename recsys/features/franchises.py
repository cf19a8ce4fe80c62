"""Which titles belong together: seasons, films and specials of one franchise, by their names."""

import re
from collections import defaultdict
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog

# What follows the name of a franchise: a subtitle, or the number or kind of a part.
_SUBTITLE: Final = re.compile(r"(?<=\w)\s*[:/~(\[!?♪☆★].*$|\s+[-–—].*$")
_PART: Final = re.compile(
    r"\s+(?:\d+(?:st|nd|rd|th)\s+season|season\s+\d+|part\s+\w+|movie|film|ova|ona|oad|tv|specials?|episode|recap|"
    r"(?:the\s+)?final\s+season|the\s+movie|the\s+animation|picture\s+drama|s\d+|\d+|i{2,3}|iv|v|vi{0,3}|r\d|zoku|"
    r"shin|kai|gekijouban|encore|plus|extra|mini|next|after|zero|2nd|3rd)\b.*$"
)
_PREFIX_WORD: Final = re.compile(r"^(?:gekijouban|eiga|movie|shin|zoku|bokutachi no|chibi|mini|the)\s+")
MIN_LENGTH: Final = 3
MIN_PREFIX_WORDS: Final = 2


def find_stem(title: str) -> str:
    """Reduce a title to the name of its franchise: "Utena 2nd Season: Movie" to "utena"."""
    stem = _PREFIX_WORD.sub("", title.lower().strip())
    stem = _SUBTITLE.sub("", stem)
    stem = _PART.sub("", stem)
    return " ".join(re.findall(r"\w+", stem))


def compute_franchises(catalog: Catalog) -> npt.NDArray[np.int64]:
    """Give each franchise of a catalog a number.

    Two titles belong together if their default or English titles have the same stem, or if the stem of one, of at
    least two words, begins the stem of the other. Names are all that the data hold, so a remake under another name
    stays apart and namesakes fall together.

    Returns
    -------
    The number of each title's franchise, `(n_items,)`; a title of its own has a number of its own.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for column in (ItemColumns.Title, ItemColumns.TitleEnglish):
        for position, title in enumerate(catalog.items[column]):
            stem = find_stem(title) if title else ""
            if len(stem) >= MIN_LENGTH:
                holders[stem].append(position)
    links = [(members[0], member) for members in holders.values() for member in members[1:]]
    for stem, members in holders.items():
        words = stem.split()
        for length in range(MIN_PREFIX_WORDS, len(words)):
            shorter = holders.get(" ".join(words[:length]))
            if shorter:
                links.append((shorter[0], members[0]))
    rows, columns = np.array(links, dtype=np.intp).reshape(-1, 2).T
    n_items = len(catalog)
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n_items, n_items))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
