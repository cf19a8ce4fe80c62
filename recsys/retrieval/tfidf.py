"""TF-IDF on what is known of titles: words of name and synopsis, genres, studios, source, type, decade, age rating."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

import numpy as np
from scipy.sparse import csr_matrix, diags, hstack

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.features.item_features import compute_decades
from recsys.features.item_side import normalise_rows
from recsys.retrieval.base import ArrayModel, State, map_values, sparse_from_state, sparse_to_state
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.types import Floats, RatingMatrix

_WORD: Final = re.compile(r"[^\W_]{3,}")
_TITLES: Final = (ItemColumns.Title, ItemColumns.TitleEnglish)
_SINGLE: Final = (ItemColumns.Type, ItemColumns.Source, ItemColumns.AgeRating)


@dataclass
class MetadataTfidf(ArrayModel):
    """Cosine between TF-IDF vectors of metadata and synopsis.

    A term of a title weighs `(1 + log(occurrences)) * log(n_items / n_items_with_term)` (Salton & Buckley,
    "Term-weighting approaches in automatic text retrieval", 1988). Names, metadata and synopsis are terms of their own:
    the word "school" of a synopsis is not the genre School.

    Parameters
    ----------
    name_weight, synopsis_weight
        Length of the vectors of names and synopses; that of the metadata is 1.
    min_items
        Words of fewer titles are left out: of one title alone they compare nothing.
    max_share
        Words of more than this share 0..1 of the titles are left out.
    """

    name_weight: float = 1.0
    synopsis_weight: float = 1.0
    min_items: int = 2
    max_share: float = 0.2
    name: ClassVar[str] = "content"
    units_: RatingMatrix | None = field(default=None, init=False, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Compute the vectors; ratings are not read."""
        titles = catalog.items[list(_TITLES)].itertuples(index=False)
        names = [{word for text in row if text for word in split_words(text)} for row in titles]
        synopses = [split_words(text or "") for text in catalog.items[ItemColumns.Synopsis]]
        parts: list[tuple[Sequence[Iterable[str]], float, float]] = [
            (names, self.name_weight, self.max_share),
            (list_metadata(catalog), 1.0, 1.0),
            (synopses, self.synopsis_weight, self.max_share),
        ]
        blocks = [weight * compute_tfidf(terms, self.min_items, share) for terms, weight, share in parts]
        joined = hstack(blocks, format="csr")
        lengths = np.sqrt(np.asarray(joined.multiply(joined).sum(axis=1)).ravel())
        self.units_ = (diags(1 / np.maximum(lengths, 1e-9)) @ joined).astype(np.float32).tocsr()
        return self

    def score(self, history: RatingMatrix) -> Floats:
        """Compute the cosine of each profile with each title, `(n_users, n_items)`; 0 for an empty history."""
        if self.units_ is None:
            raise NotFittedError(self)
        profiles = normalise_rows((map_values(history, EVIDENCE) @ self.units_).toarray().astype(np.float32))
        return np.ascontiguousarray((self.units_ @ profiles.T).T, dtype=np.float32)

    def state(self) -> State:
        """Return the vectors."""
        if self.units_ is None:
            raise NotFittedError(self)
        return sparse_to_state(self.units_)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the vectors."""
        model = cls()
        model.units_ = sparse_from_state(state)
        return model


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words of at least three letters.

    Examples
    --------
    >>> split_words("A boy, and his Sword!")
    ['boy', 'and', 'his', 'sword']
    """
    return _WORD.findall(text.lower())


def list_metadata(catalog: Catalog) -> list[list[str]]:
    """List the metadata of each title as terms, `genre=Action`."""
    items = catalog.items
    columns = {name: items[name] for name in _SINGLE} | {"decade": compute_decades(catalog)}
    rows: list[list[str]] = [[] for _ in range(len(items))]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            if value:
                row.append(f"{name}={value}")
    for name in (ItemColumns.Genres, ItemColumns.Studios):
        for row, listed in zip(rows, items[name], strict=True):
            row.extend(f"{name}={value}" for value in listed)
    return rows


def compute_tfidf(terms: Sequence[Iterable[str]], min_items: int, max_share: float) -> RatingMatrix:
    """Weigh terms, CSR `(n_items, n_terms)` with rows of length 1, or 0 where no term is left.

    Parameters
    ----------
    terms
        Those of each title, a repeated one as often as it occurs.
    """
    numbers: dict[str, int] = {}
    columns = [[numbers.setdefault(term, len(numbers)) for term in row] for row in terms]
    ends = np.cumsum([0, *map(len, columns)])
    flat = np.fromiter((column for row in columns for column in row), dtype=np.int64, count=int(ends[-1]))
    counts = csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(columns), len(numbers)))
    counts.sum_duplicates()
    carried = np.bincount(counts.indices, minlength=len(numbers))
    kept = (carried >= min_items) & (carried <= max(max_share * len(columns), min_items))
    frequency = np.where(kept, np.log(len(columns) / np.maximum(carried, 1)), 0.0)
    counts.data = (1 + np.log(counts.data)) * frequency[counts.indices]
    counts = counts[:, kept]
    lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    return (diags(1 / np.maximum(lengths, 1e-9)) @ counts).tocsr()
