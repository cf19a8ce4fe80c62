"""Features of (user, candidate) pairs, every one computed from the history only.

The same function serves training and the request, so there is no second implementation to drift.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

import numpy as np

from recsys.data.interactions import POSITIVE_RATING
from recsys.exceptions import SchemaMismatchError
from recsys.features.franchise_features import compute_franchise_relations
from recsys.features.item_side import ItemSide
from recsys.features.neighbour_features import compute_neighbour_support
from recsys.features.pairs import FeatureColumns, Pairs
from recsys.features.schema import FeatureSchema
from recsys.features.similarity_features import (
    compute_lightfm_similarities,
    compute_name_relations,
    compute_text_similarities,
)
from recsys.features.taste_features import compute_genre_match, compute_habit_gaps
from recsys.types import Floats


def _user(pairs: Pairs) -> FeatureColumns:
    ratings, n_users = pairs.history.data, len(pairs.lengths)
    users = np.repeat(np.arange(n_users), pairs.lengths)
    squares = np.bincount(users, ratings**2, n_users).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        variances = squares / pairs.lengths - pairs.means**2
        liked = np.bincount(users[ratings >= POSITIVE_RATING], minlength=n_users) / pairs.lengths
    return {
        "user_log_ratings": np.log1p(pairs.lengths)[pairs.rows],
        "user_mean_rating": pairs.means[pairs.rows],
        "user_rating_spread": np.sqrt(np.maximum(variances, 0))[pairs.rows],
        "user_liked_share": liked[pairs.rows],
    }


def _item(pairs: Pairs) -> FeatureColumns:
    table = pairs.items.statistics_table[pairs.columns]
    return {name: table[:, place] for place, name in enumerate(pairs.items.statistics.columns)}


def _retrieval(pairs: Pairs) -> FeatureColumns:
    features: FeatureColumns = {}
    for name, scores in pairs.pair_scores.items():
        features[f"{name}_score"] = scores.values
        if name not in pairs.impersonal:
            features[f"{name}_relative"] = scores.values / np.maximum(scores.best, 1e-9)[pairs.rows]
    return features


def _user_profile(pairs: Pairs) -> FeatureColumns:
    """Repeat the user vector of the original recommender: one share a genre and the mean rating."""
    genres = pairs.items.catalog.genre_matrix
    shares = np.asarray(pairs.watched @ genres) / np.maximum(pairs.lengths, 1)[:, None]
    shares = np.where(pairs.lengths[:, None] > 0, shares, pairs.tastes)
    # LightGBM rewrites spaces and refuses commas, colons, quotes and brackets in names.
    names = [f"genre_share={quote(genre, safe='')}" for genre in pairs.items.catalog.genres]
    columns: FeatureColumns = {name: shares[pairs.rows, position] for position, name in enumerate(names)}
    return columns | {"profile_mean_rating": pairs.means[pairs.rows]}


def _raw(prefix: str, vectors: Callable[[ItemSide], Floats]) -> Callable[[Pairs], FeatureColumns]:
    def compute(pairs: Pairs) -> FeatureColumns:
        table = vectors(pairs.items)[pairs.columns]
        return {f"{prefix}_{dimension}": table[:, dimension] for dimension in range(table.shape[1])}

    return compute


GROUPS: Final[Mapping[str, Callable[[Pairs], FeatureColumns]]] = {
    "user": _user,
    "item": _item,
    "retrieval": _retrieval,
    "text": compute_text_similarities,
    "lightfm": compute_lightfm_similarities,
    "name": compute_name_relations,
    "franchise": compute_franchise_relations,
    "neighbours": compute_neighbour_support,
    "habits": compute_habit_gaps,
    "tastes": compute_genre_match,
    "user_profile": _user_profile,
    "lightfm_raw": _raw("lightfm", lambda items: items.lightfm_vectors),
    "text_raw": _raw("text", lambda items: items.text_vectors),
}
DEFAULT_GROUPS: Final = (
    "user",
    "item",
    "retrieval",
    "neighbours",
    "habits",
    "text",
    "lightfm",
    "name",
    "franchise",
    "tastes",
)
ORIGINAL_GROUPS: Final = ("user_profile", "lightfm_raw", "text_raw")


def compute_ranking_features(pairs: Pairs, groups: Sequence[str]) -> tuple[FeatureSchema, Floats]:
    """Compute the feature table of all pairs.

    Returns
    -------
    The schema and the table `(n_pairs, n_features)`, float32, Fortran order, NaN where a feature has no value.

    Raises
    ------
    SchemaMismatchError
        If there is no such group: another version of this code made the model.
    """
    if unknown := next((group for group in groups if group not in GROUPS), None):
        raise SchemaMismatchError(f"there are no features {unknown!r}, only {', '.join(GROUPS)}; train the model again")
    columns = {group: GROUPS[group](pairs) for group in groups}
    schema = FeatureSchema({group: tuple(found) for group, found in columns.items()})
    table = np.empty((len(pairs.rows), len(schema.names)), dtype=np.float32, order="F")
    for position, values in enumerate(values for found in columns.values() for values in found.values()):
        table[:, position] = values
    return schema, table
