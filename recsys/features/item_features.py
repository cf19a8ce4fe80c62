"""Content features of a title, known before its first rating."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, hstack

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.types import Floats, RatingMatrix

UNKNOWN = "Unknown"


@dataclass(frozen=True)
class FeatureTable:
    """A sparse table `(n_rows, n_features)` and the names of its columns."""

    names: tuple[str, ...]
    values: RatingMatrix


def compute_decades(catalog: Catalog) -> pd.Series:
    """Return the decade in which each title started ("1990s"), or "Unknown"."""
    return pd.Series(
        [f"{start.year // 10 * 10}s" if pd.notna(start) else UNKNOWN for start in catalog.items[ItemColumns.AiredFrom]]
    )


def compute_one_hot(values: pd.Series, prefix: str) -> FeatureTable:
    """Give each value of a categorical column a column of its own; a missing value is "Unknown"."""
    codes, levels = pd.factorize(values.fillna(UNKNOWN).astype(str), sort=True)
    table = csr_matrix((np.ones(len(codes), np.float32), (np.arange(len(codes)), codes)))
    return FeatureTable(tuple(f"{prefix}={level}" for level in levels), table)


def compute_memberships(lists: pd.Series, prefix: str) -> FeatureTable:
    """Give each value of a list column a column of its own, one where the list holds it."""
    exploded = lists.reset_index(drop=True).explode().dropna()
    codes, levels = pd.factorize(exploded, sort=True)
    table = csr_matrix((np.ones(len(codes), np.float32), (exploded.index, codes)), shape=(len(lists), len(levels)))
    table.data[:] = 1.0
    return FeatureTable(tuple(f"{prefix}={level}" for level in levels), table)


def compute_min_max(values: pd.DataFrame) -> Floats:
    """Scale each column to 0..1; missing values and constant columns become 0."""
    numbers = values.to_numpy(dtype=np.float64)
    low, high = np.nanmin(numbers, axis=0, initial=np.inf), np.nanmax(numbers, axis=0, initial=-np.inf)
    spread = np.where(high > low, high - low, 1.0)
    scaled = np.nan_to_num((numbers - low) / spread, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(scaled, dtype=np.float32)


def compute_item_features(catalog: Catalog) -> FeatureTable:
    """Build the content table that the LightFM hybrid reads.

    One-hot type, source, age rating, decade of the start and genres; min-max scaled score, episodes, duration, ranks
    and audience counts. About a hundred columns on MyAnimeList.
    """
    items = catalog.items
    blocks = [
        compute_one_hot(items[ItemColumns.Type], "type"),
        compute_one_hot(items[ItemColumns.Source], "source"),
        compute_one_hot(items[ItemColumns.AgeRating], "age_rating"),
        compute_one_hot(compute_decades(catalog), "decade"),
        compute_memberships(items[ItemColumns.Genres], "genre"),
        FeatureTable(tuple(ItemColumns.Numericals), csr_matrix(compute_min_max(items[ItemColumns.Numericals]))),
    ]
    names = tuple(name for block in blocks for name in block.names)
    return FeatureTable(names, hstack([block.values for block in blocks], format="csr", dtype=np.float32))
