"""Everything about titles that ranking features need, computed once a model version."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.features.franchises import Franchises, compute_franchises
from recsys.features.support import Support
from recsys.types import Floats, Positions, RatingMatrix

# Numbers of a title in which users have habits: famous or obscure, old or new, long or short, acclaimed or not.
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
    known_franchises
        As computed in training, with its ratings; None computes them of the catalog alone.
    """

    catalog: Catalog
    text_vectors: Floats
    title_neighbours: RatingMatrix
    lightfm_vectors: Floats
    known_franchises: Franchises | None = None

    @cached_property
    def text_units(self) -> Floats:
        """Text vectors of unit length."""
        return normalise_rows(self.text_vectors)

    @cached_property
    def lightfm_units(self) -> Floats:
        """LightFM vectors of unit length."""
        return normalise_rows(self.lightfm_vectors)

    def join_units(self, positions: Positions) -> Floats:
        """Return vectors whose inner product is the mean of the cosines of both kinds, `(n, n_components + 384)`."""
        joined = np.hstack([self.lightfm_units[positions], self.text_units[positions]])
        return np.asarray(joined / np.sqrt(np.float32(2)), dtype=np.float32)

    @cached_property
    def title_support(self) -> Support:
        """What titles of similar names say about one another."""
        return Support.of(self.title_neighbours.T.tocsr())

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
    def statistics_table(self) -> Floats:
        """The same as one array, `(n_items, n_statistics)`."""
        return np.ascontiguousarray(self.statistics.to_numpy(dtype=np.float32))

    @cached_property
    def habit_numbers(self) -> Floats:
        """Numbers in which users have habits, `(n_items, n_habits)`; NaN where unknown."""
        return np.ascontiguousarray(self.statistics[list(HABITS)], dtype=np.float32)

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
    def season_order(self) -> Franchises:
        """Franchises and the order of their seasons."""
        return self.known_franchises or compute_franchises(self.catalog)

    @property
    def franchises(self) -> npt.NDArray[np.int64]:
        """Number of each title's franchise, `(n_items,)`."""
        return self.season_order.numbers

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
