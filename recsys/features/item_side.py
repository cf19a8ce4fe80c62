"""Everything about titles that ranking features need, computed once a model version."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.features.item_features import compute_decades, compute_memberships, compute_one_hot
from recsys.types import Floats, RatingMatrix


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
        years = [start.year if pd.notna(start) else np.nan for start in items[ItemColumns.AiredFrom]]
        return pd.DataFrame(
            {
                "item_mean_score": items[ItemColumns.MeanScore],
                "item_log_members": np.log1p(members),
                "item_favorites_share": items[ItemColumns.Favorites] / (members + 1),
                "item_dropped_share": items[ItemColumns.Dropped] / (members + 1),
                "item_planned_share": items[ItemColumns.PlanToWatch] / (members + 1),
                "item_log_episodes": np.log1p(items[ItemColumns.Episodes]),
                "item_duration_minutes": items[ItemColumns.DurationMinutes],
                "item_year": years,
                "item_has_synopsis": (np.abs(self.text_vectors).sum(axis=1) > 0).astype(float),
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
            "type": compute_one_hot(items[ItemColumns.Type], "type").values,
        }
