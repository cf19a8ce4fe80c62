"""Everything about titles that ranking features need, computed once a model version."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix, hstack

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.features.franchises import compute_franchises
from recsys.features.item_features import compute_decades, compute_memberships, compute_one_hot
from recsys.types import Floats, Positions, RatingMatrix

# Numbers of a title in which people have habits: famous or obscure, old or new, long or short, acclaimed or not.
HABITS: Final = ("item_log_members", "item_year", "item_log_episodes", "item_duration_minutes", "item_mean_score")


def normalise_rows(vectors: Floats) -> Floats:
    """Scale each row to unit length; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0), dtype=np.float32)


@dataclass(frozen=True)
class ItemSide:
    """Item matrices in catalog order.

    Parameters
    ----------
    text_vectors
        Synopsis embeddings `(n_items, 384)`; zero rows for titles without a synopsis.
    title_neighbours
        CSR `(n_items, n_items)` of cosines between titles of the same or a similar name, diagonal 1.
    lightfm_vectors
        `(n_items, n_components)`.
    """

    catalog: Catalog
    text_vectors: Floats
    title_neighbours: RatingMatrix
    lightfm_vectors: Floats

    @cached_property
    def text_units(self) -> Floats:
        """Text vectors of unit length."""
        return normalise_rows(self.text_vectors)

    @cached_property
    def lightfm_units(self) -> Floats:
        """LightFM vectors of unit length."""
        return normalise_rows(self.lightfm_vectors)

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """Numbers about a title itself; missing ones are NaN, which LightGBM handles."""
        items = self.catalog.items
        members = items[ItemColumns.Members]
        starts = pd.to_datetime(items[ItemColumns.AiredFrom]).dt
        return pd.DataFrame(
            {
                "item_mean_score": items[ItemColumns.MeanScore],
                "item_log_members": np.log1p(members),
                "item_favorites_share": items[ItemColumns.Favorites] / (members + 1),
                "item_dropped_share": items[ItemColumns.Dropped] / (members + 1),
                "item_planned_share": items[ItemColumns.PlanToWatch] / (members + 1),
                "item_log_episodes": np.log1p(items[ItemColumns.Episodes]),
                "item_duration_minutes": items[ItemColumns.DurationMinutes],
                "item_year": starts.year,
                "item_start": starts.year + starts.dayofyear / 366,
                "item_franchise_size": self.franchise_sizes,
                "item_franchise_place": self.franchise_places,
            },
            dtype=np.float32,
        )

    @cached_property
    def affiliations(self) -> Mapping[str, RatingMatrix]:
        """What a taste can attach to: CSR memberships `(n_items, n_values)` by kind."""
        items = self.catalog.items
        return {
            "genre": compute_memberships(items[ItemColumns.Genres], "genre").values,
            "studio": compute_memberships(items[ItemColumns.Studios], "studio").values,
            "source": compute_one_hot(items[ItemColumns.Source], "source").values,
            "decade": compute_one_hot(compute_decades(self.catalog), "decade").values,
            "year": compute_one_hot(self.statistics["item_year"], "year").values,
            "type": compute_one_hot(items[ItemColumns.Type], "type").values,
        }

    @cached_property
    def affiliation_table(self) -> RatingMatrix:
        """All of `affiliations` side by side, CSR `(n_items, n_values)`."""
        return hstack(list(self.affiliations.values()), format="csr")

    @cached_property
    def affiliation_kinds(self) -> Positions:
        """Which of `affiliations` each column of the table belongs to, `(n_values,)`."""
        return np.repeat(np.arange(len(self.affiliations)), [table.shape[1] for table in self.affiliations.values()])

    @cached_property
    def affiliation_counts(self) -> Floats:
        """How many values of each kind a title carries, at least 1, `(n_items, n_kinds)`."""
        counts = [np.maximum(np.diff(table.indptr), 1) for table in self.affiliations.values()]
        return np.column_stack(counts).astype(np.float32)

    @cached_property
    def habit_numbers(self) -> Floats:
        """Numbers in which people have habits, `(n_items, n_habits)`; NaN where unknown."""
        return np.asarray(self.statistics[list(HABITS)], dtype=np.float32)

    @cached_property
    def known_habit_numbers(self) -> tuple[Floats, Floats]:
        """The same with 0 where unknown, and 1 where known."""
        known = ~np.isnan(self.habit_numbers)
        return np.where(known, self.habit_numbers, np.float32(0)), known.astype(np.float32)

    @cached_property
    def starts(self) -> Floats:
        """First day on air in years and their fractions, `(n_items,)`; NaN where unknown."""
        return self.statistics["item_start"].to_numpy()

    @cached_property
    def genre_norms(self) -> Floats:
        """Square root of the number of genres of a title, at least 1, `(n_items,)`."""
        return np.asarray(np.sqrt(np.maximum(self.catalog.genre_matrix.sum(axis=1), 1)), dtype=np.float32)

    @cached_property
    def franchises(self) -> npt.NDArray[np.int64]:
        """Number of each title's franchise, `(n_items,)`."""
        return compute_franchises(self.catalog)

    @cached_property
    def franchise_members(self) -> RatingMatrix:
        """CSR `(n_items, n_franchises)`, one where a title belongs."""
        places = (np.arange(len(self.catalog)), self.franchises)
        return csr_matrix((np.ones(len(self.catalog), dtype=np.float32), places))

    @cached_property
    def franchise_sizes(self) -> Floats:
        """Titles in each title's franchise, itself included, `(n_items,)`."""
        return np.bincount(self.franchises)[self.franchises].astype(np.float32)

    @cached_property
    def _broadcast_order(self) -> Positions:
        """Positions sorted by franchise and, within it, by the first day on air; unknown days come last."""
        days = pd.to_datetime(self.catalog.items[ItemColumns.AiredFrom]).to_numpy()
        return np.lexsort((np.arange(len(days)), days, np.isnat(days), self.franchises))

    @cached_property
    def franchise_places(self) -> Floats:
        """Place of each title in its franchise by the first day on air, from 1, `(n_items,)`."""
        order = self._broadcast_order
        starts = np.searchsorted(self.franchises[order], self.franchises[order])
        places = np.empty(len(order), dtype=np.float32)
        places[order] = np.arange(len(order)) - starts + 1
        return places

    @cached_property
    def franchise_neighbours(self) -> tuple[Positions, Positions]:
        """Titles that aired just before and just after within the franchise, each `(n_items,)`.

        Where there is none, the number of titles: one past the last position.
        """
        order = self._broadcast_order
        none = len(order)
        earlier, later = np.full(none, none), np.full(none, none)
        same = self.franchises[order[1:]] == self.franchises[order[:-1]]
        earlier[order[1:][same]] = order[:-1][same]
        later[order[:-1][same]] = order[1:][same]
        return earlier, later
