"""The names of titles, split into what names the franchise and what names the work."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.folding import fold_width
from recsys.data.seasons import parse_title
from recsys.types import Positions, RatingMatrix

# Names are split once for all folds of a training; as many as a catalog of 100,000 titles has.
MAX_NAMES: Final = 300_000
COLUMNS: Final = (ItemColumns.Title, ItemColumns.TitleEnglish, ItemColumns.TitleJapanese)
# What stands behind the name of a franchise: a subtitle, or the word of a film.
_SUBTITLE: Final = re.compile(
    r"(?<=\w)['!?☆★♪♥♡.]*\s*(?::\s|//?(?=\w)|\s[-–—~/]|[~(\[「『〜～]|\s/)"
    r"|(?<=\w)[!?☆★♪♥♡]+(?=\s|$)|\s(?:gekijouban|movie|the movie|劇場版)\s?|劇場版|\s\W*総集編"
)
_FRONT: Final = re.compile(r"^(?:gekijouban|eiga|shin|zoku|the|劇場版|映画|続・?|新・?|小説)\s*")


@lru_cache(MAX_NAMES)
def split_name(title: str) -> tuple[str, str]:
    """Return the head of a title, without season and subtitle, and the whole name without season, part and format.

    >>> split_name("K: Missing Kings")
    ('k', 'k missing kings')
    >>> split_name("Re:Zero kara Hajimeru Isekai Seikatsu 2nd Season")[0]
    're zero kara hajimeru isekai seikatsu'
    """
    text = _FRONT.sub("", fold_width(title))
    found = _SUBTITLE.search(text, 1)
    return parse_title(text[: found.start()] if found else text).base, parse_title(title).name


@dataclass(frozen=True)
class TitleNames:
    """Heads and whole names by column and position; an empty text where a title has no such name."""

    heads: tuple[list[str], ...]
    wholes: tuple[list[str], ...]
    vectors: tuple[RatingMatrix, ...]  # of the trigrams of whole names, unit length

    @classmethod
    def build(cls, catalog: Catalog) -> "TitleNames":
        """Split the default, English and Japanese titles of a catalog."""
        heads, wholes = [], []
        for column in COLUMNS:
            split = [
                split_name(title) if isinstance(title, str) and any(map(str.isalnum, title)) else ("", "")
                for title in catalog.items[column]
            ]
            heads.append([head for head, _ in split])
            wholes.append([whole for _, whole in split])
        return cls(tuple(heads), tuple(wholes), tuple(map(_vectorise, wholes)))

    def list_heads(self, position: int) -> set[str]:
        """List the heads of a title in all languages."""
        return {heads[position] for heads in self.heads} - {""}

    def list_wholes(self, position: int) -> set[str]:
        """List the whole names of a title in all languages."""
        return {wholes[position] for wholes in self.wholes} - {""}

    def compare(self, first: Positions, second: Positions) -> np.ndarray:
        """Return the largest cosine of any two names in one language, `(len(first), len(second))`."""
        cosines = [(vectors[first] @ vectors[second].T).toarray() for vectors in self.vectors]
        return np.asarray(np.maximum.reduce(cosines))


def _vectorise(names: list[str]) -> RatingMatrix:
    if not any(len(name) > 1 for name in names):
        return csr_matrix((len(names), 1), dtype=np.float32)
    # Only where franchises are computed: the service reads them and does without scikit-learn.
    from sklearn.feature_extraction.text import TfidfVectorizer

    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True, dtype=np.float32)
    return grams.fit_transform(names).tocsr()
