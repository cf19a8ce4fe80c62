"""Features of (user, candidate) pairs, every one computed from the history only.

The same function serves training and the request, so there is no second implementation to drift.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import POSITIVE_RATING
from recsys.features.item_side import ItemSide
from recsys.features.schema import FeatureSchema
from recsys.types import Floats, Positions, RatingMatrix

# Prior strength of an affinity: how many ratings it takes until a user's own mean counts for half.
SHRINKAGE = 5.0


@dataclass(frozen=True)
class Pairs:
    """Users' histories and the candidates to describe.

    Parameters
    ----------
    history
        CSR `(n_users, n_items)` of ratings 1..10.
    candidates
        For each row of the history, positions of candidates; features come out in this order, user by user.
    scores
        First-stage scores by model, each `(n_users, n_items)`.
    tastes
        Stated genre weights `(n_users, n_genres)`, used where the history is empty.
    items
        The item side.
    """

    history: RatingMatrix
    candidates: Sequence[Positions]
    scores: Mapping[str, Floats]
    tastes: Floats
    items: ItemSide

    @cached_property
    def counts(self) -> npt.NDArray[np.intp]:
        """Candidates of each user, `(n_users,)`."""
        return np.array([len(positions) for positions in self.candidates], dtype=np.intp)

    @cached_property
    def rows(self) -> Positions:
        """User row of each pair, `(n_pairs,)`."""
        return np.repeat(np.arange(len(self.candidates)), self.counts)

    @cached_property
    def columns(self) -> Positions:
        """Item position of each pair, `(n_pairs,)`."""
        empty = np.empty(0, dtype=np.intp)
        return np.concatenate([empty, *self.candidates]).astype(np.intp)

    @cached_property
    def lengths(self) -> npt.NDArray[np.intp]:
        """Ratings of each user, `(n_users,)`."""
        return np.asarray(np.diff(self.history.indptr), dtype=np.intp)

    @cached_property
    def means(self) -> Floats:
        """Mean rating of each user, `(n_users,)`; NaN for an empty history."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.asarray(self.history.sum(axis=1)).ravel() / self.lengths, dtype=np.float32)

    @cached_property
    def watched(self) -> RatingMatrix:
        """The history with ones in place of ratings."""
        watched = self.history.copy()
        watched.data = np.ones_like(watched.data)
        return watched

    @cached_property
    def deviations(self) -> RatingMatrix:
        """The history with ratings minus the user's mean."""
        centred = self.history.copy()
        centred.data = centred.data - np.repeat(self.means, self.lengths)
        return centred

    def seen(self, row: int) -> tuple[Positions, Floats]:
        """Return positions and ratings of one user's history."""
        part = slice(self.history.indptr[row], self.history.indptr[row + 1])
        return self.history.indices[part], self.history.data[part]


Columns = dict[str, npt.NDArray[np.floating]]


def _user(pairs: Pairs) -> Columns:
    squares = pairs.history.multiply(pairs.history).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        variances = np.asarray(squares).ravel() / pairs.lengths - pairs.means**2
        liked = np.asarray((pairs.history >= POSITIVE_RATING).sum(axis=1)).ravel() / pairs.lengths
    return {
        "user_log_ratings": np.log1p(pairs.lengths)[pairs.rows],
        "user_mean_rating": pairs.means[pairs.rows],
        "user_rating_spread": np.sqrt(np.maximum(variances, 0))[pairs.rows],
        "user_liked_share": liked[pairs.rows],
    }


def _item(pairs: Pairs) -> Columns:
    statistics = pairs.items.statistics
    return {name: statistics[name].to_numpy()[pairs.columns] for name in statistics.columns}


def _retrieval(pairs: Pairs) -> Columns:
    features: Columns = {}
    for name, scores in pairs.scores.items():
        values = scores[pairs.rows, pairs.columns]
        best = np.maximum(scores.max(axis=1), 1e-9)
        features[f"{name}_score"] = values
        if name != "popular":
            features[f"{name}_relative"] = values / best[pairs.rows]
    return features


def _affinity(pairs: Pairs) -> Columns:
    features: Columns = {}
    for kind, memberships in pairs.items.affiliations.items():
        counts = np.asarray((pairs.watched @ memberships).todense())
        sums = np.asarray((pairs.deviations @ memberships).todense())
        n_values = np.maximum(np.diff(memberships.indptr), 1)[pairs.columns]
        shares = counts / np.maximum(pairs.lengths, 1)[:, None]
        features[f"{kind}_share"] = _sum_over_values(shares, memberships, pairs) / n_values
        features[f"{kind}_affinity"] = _sum_over_values(sums / (counts + SHRINKAGE), memberships, pairs) / n_values
    return features


def _sum_over_values(table: npt.NDArray[np.floating], memberships: RatingMatrix, pairs: Pairs) -> Floats:
    """Sum a user's numbers over the values that each candidate carries."""
    sums = np.empty(len(pairs.rows), dtype=np.float32)
    start = 0
    for row, positions in enumerate(pairs.candidates):
        sums[start : start + len(positions)] = memberships[positions] @ table[row]
        start += len(positions)
    return sums


def _similarities(pairs: Pairs, units: Floats, prefix: str) -> Columns:
    """Compare candidates with what was liked and disliked: mean and nearest cosine."""
    features = {
        f"{prefix}_{kind}": np.full(len(pairs.rows), np.nan, dtype=np.float32)
        for kind in ("liked_mean", "liked_max", "disliked_mean")
    }
    start = 0
    for row, positions in enumerate(pairs.candidates):
        part = slice(start, start + len(positions))
        start = part.stop
        seen, ratings = pairs.seen(row)
        liked = units[seen[ratings >= min(POSITIVE_RATING, ratings.max(initial=0))]]
        disliked = units[seen[ratings < POSITIVE_RATING]]
        wanted = units[positions]
        if len(liked):
            features[f"{prefix}_liked_mean"][part] = wanted @ liked.mean(axis=0)
            features[f"{prefix}_liked_max"][part] = (wanted @ liked.T).max(axis=1)
        if len(disliked):
            features[f"{prefix}_disliked_mean"][part] = wanted @ disliked.mean(axis=0)
    return features


def _text(pairs: Pairs) -> Columns:
    return _similarities(pairs, pairs.items.text_units, "text")


def _lightfm(pairs: Pairs) -> Columns:
    return _similarities(pairs, pairs.items.lightfm_units, "lightfm_cosine")


def _franchise(pairs: Pairs) -> Columns:
    """Relate candidates to titles of a similar name in the history."""
    names = ("title_nearest", "title_total", "title_rating")
    features = {name: np.zeros(len(pairs.rows), dtype=np.float32) for name in names}
    start = 0
    for row, positions in enumerate(pairs.candidates):
        part = slice(start, start + len(positions))
        start = part.stop
        seen, ratings = pairs.seen(row)
        if not len(seen):
            continue
        near = pairs.items.title_neighbours[positions][:, seen]
        totals = np.asarray(near.sum(axis=1)).ravel()
        features["title_nearest"][part] = np.asarray(near.max(axis=1).todense()).ravel()
        features["title_total"][part] = totals
        with np.errstate(invalid="ignore"):
            features["title_rating"][part] = (near @ (ratings - pairs.means[row])) / totals
    return features


def _tastes(pairs: Pairs) -> Columns:
    """Match candidates with a person's genres: those stated, or the shares of the history."""
    genres = pairs.items.catalog.genre_matrix
    shares = np.asarray(pairs.watched @ genres) / np.maximum(pairs.lengths, 1)[:, None]
    profile = np.where(pairs.lengths[:, None] > 0, shares, pairs.tastes)
    norms = np.maximum(np.linalg.norm(profile, axis=1), 1e-9)
    sizes = np.sqrt(np.maximum(genres.sum(axis=1), 1))
    matches = np.einsum("ij,ij->i", profile[pairs.rows], genres[pairs.columns])
    return {"genre_match": matches / norms[pairs.rows] / sizes[pairs.columns]}


def _user_profile(pairs: Pairs) -> Columns:
    """Repeat the user vector of the original recommender: one share a genre and the mean rating."""
    genres = pairs.items.catalog.genre_matrix
    shares = np.asarray(pairs.watched @ genres) / np.maximum(pairs.lengths, 1)[:, None]
    shares = np.where(pairs.lengths[:, None] > 0, shares, pairs.tastes)
    # LightGBM rewrites spaces and refuses commas, colons, quotes and brackets in names.
    names = [f"genre_share={quote(genre, safe='')}" for genre in pairs.items.catalog.genres]
    columns: Columns = {name: shares[pairs.rows, position] for position, name in enumerate(names)}
    return columns | {"profile_mean_rating": pairs.means[pairs.rows]}


def _raw(prefix: str, vectors: Callable[[ItemSide], Floats]) -> Callable[[Pairs], Columns]:
    def compute(pairs: Pairs) -> Columns:
        table = vectors(pairs.items)[pairs.columns]
        return {f"{prefix}_{dimension}": table[:, dimension] for dimension in range(table.shape[1])}

    return compute


GROUPS: Final[Mapping[str, Callable[[Pairs], Columns]]] = {
    "user": _user,
    "item": _item,
    "retrieval": _retrieval,
    "affinity": _affinity,
    "text": _text,
    "lightfm": _lightfm,
    "franchise": _franchise,
    "tastes": _tastes,
    "user_profile": _user_profile,
    "lightfm_raw": _raw("lightfm", lambda items: items.lightfm_vectors),
    "text_raw": _raw("text", lambda items: items.text_vectors),
}
DEFAULT_GROUPS: Final = ("user", "item", "retrieval", "affinity", "text", "lightfm", "franchise", "tastes")
SEED_GROUPS: Final = ("user_profile", "lightfm_raw", "text_raw")


def compute_ranking_features(pairs: Pairs, groups: Sequence[str]) -> tuple[FeatureSchema, Floats]:
    """Compute the feature table of all pairs.

    Returns
    -------
    The schema and the table `(n_pairs, n_features)`, float32, C order, NaN where a feature has no value.
    """
    columns: Columns = {}
    for group in groups:
        columns |= GROUPS[group](pairs)
    table = np.empty((len(pairs.rows), len(columns)), dtype=np.float32)
    for position, values in enumerate(columns.values()):
        table[:, position] = values
    return FeatureSchema(tuple(groups), tuple(columns)), table
