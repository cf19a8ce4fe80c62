"""Masks over the catalog for the filters of a request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jellyfish
import numpy as np
import numpy.typing as npt

from app.schemas.problems import ProblemError
from app.schemas.recommendations import Filters
from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.titles.names import find_adult
from recsys.types import Mask

_SUGGESTIONS = 3


@dataclass(frozen=True)
class FilterValues:
    """The values of a column, and a mask of the items that carry each."""

    what: str
    names: dict[str, str]  # folded spelling -> value
    masks: dict[str, Mask]

    def find(self, choice: str) -> str:
        """Look a value up, ignoring case.

        Raises
        ------
        ProblemError
            422 with the nearest values, if there is no such value.
        """
        folded = choice.strip().casefold()
        if folded in self.names:
            return self.names[folded]
        near = sorted(self.masks, key=lambda value: -_compute_likeness(folded, value.casefold()))
        detail = f"unknown {self.what} {choice!r}"
        raise ProblemError(422, f"unknown-{self.what.replace(' ', '-')}", detail, suggestions=near[:_SUGGESTIONS])

    def mask(self, filters: Iterable[str]) -> Mask:
        """Mark the items that carry one of these values, `(n_items,)`."""
        found: Mask = np.logical_or.reduce([self.masks[self.find(choice)] for choice in filters])
        return found


def _compute_likeness(one: str, other: str) -> float:
    plain = one.encode("utf-8", "replace").decode("utf-8")
    return float(jellyfish.jaro_winkler_similarity(plain, other))


@dataclass(frozen=True)
class CatalogFilters:
    """Filters of a catalog."""

    genres: FilterValues
    types: FilterValues
    age_ratings: FilterValues
    years: npt.NDArray[np.float64]  # (n_items,), NaN where unknown
    adult: Mask  # (n_items,), True for titles for adults only

    @classmethod
    def build(cls, catalog: Catalog) -> "CatalogFilters":
        """Index a catalog."""
        genres = {genre: catalog.genre_matrix[:, column] > 0 for column, genre in enumerate(catalog.genres)}
        ratings = _index_values("age rating", catalog.items[ItemColumns.AgeRating].tolist())
        # MAL's "PG-13 - Teens 13 or older" is known by its code as well.
        codes = {value.split(" - ")[0].casefold(): value for value in ratings.masks}
        dates = catalog.items[ItemColumns.AiredFrom]
        return cls(
            FilterValues("genre", {genre.casefold(): genre for genre in genres}, genres),
            _index_values("type", catalog.items[ItemColumns.Type].tolist()),
            FilterValues("age rating", codes | ratings.names, ratings.masks),
            np.array([getattr(date, "year", np.nan) for date in dates], dtype=np.float64),
            find_adult(catalog.items),
        )

    def allow(self, filters: Filters, *, adult: bool) -> Mask:
        """Mark the items that pass all filters, `(n_items,)`; an unknown year passes no year limit.

        Parameters
        ----------
        adult
            Whether titles for adults only pass.
        """
        allowed = np.ones(len(self.years), dtype=np.bool_) if adult else ~self.adult
        for values, choices in (
            (self.types, filters.type),
            (self.genres, filters.genres_any),
            (self.age_ratings, filters.age_rating),
        ):
            if choices:
                allowed &= values.mask(choices)
        if filters.genres_none:
            allowed &= ~self.genres.mask(filters.genres_none)
        if filters.year_min is not None:
            allowed &= self.years >= filters.year_min
        if filters.year_max is not None:
            allowed &= self.years <= filters.year_max
        return allowed


def _index_values(what: str, values: Sequence[object]) -> FilterValues:
    column = np.array([value if isinstance(value, str) else "" for value in values], dtype=object)
    known = sorted(set(column.tolist()) - {""})
    return FilterValues(what, {value.casefold(): value for value in known}, {value: column == value for value in known})
