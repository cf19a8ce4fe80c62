"""A user as a function of a history, and what a user is given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.exceptions import DataContractError
from recsys.types import Floats, Genre, Ids, ItemId, RatingMatrix, WatchStatus


@dataclass(frozen=True)
class UserProfile:
    """What is known about a user; nothing needs a user id.

    Parameters
    ----------
    item_ids, ratings
        Rated titles of the catalog and ratings 1..10, of equal length; a title occurs once.
    genre_weights
        Stated tastes, genre to weight > 0; looked at only where there is no history.
    seen_item_ids, dropped_item_ids
        Titles of the catalog that were watched, or given up, with or without a rating; no taste is learnt
        of them, but they say which season is the next one, and which franchise is disliked.
    """

    item_ids: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    ratings: Floats = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    genre_weights: Mapping[Genre, float] = field(default_factory=dict)
    seen_item_ids: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    dropped_item_ids: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if len(self.item_ids) != len(self.ratings):
            raise DataContractError(f"{len(self.item_ids)} titles but {len(self.ratings)} ratings")
        if len(np.unique(self.item_ids)) != len(self.item_ids):
            raise DataContractError("a title occurs twice in a history")
        if len(self.ratings) and not ((np.min(self.ratings) >= 1) and (np.max(self.ratings) <= 10)):
            raise DataContractError("ratings must lie in 1..10")

    def to_history(self, catalog: Catalog) -> RatingMatrix:
        """Arrange the ratings as one CSR row `(1, n_items)`."""
        positions = catalog.positions(self.item_ids)
        order = np.argsort(positions)
        values = np.asarray(self.ratings, dtype=np.float32)[order]
        return csr_matrix((values, positions[order], [0, len(order)]), shape=(1, len(catalog)))

    def to_tastes(self, catalog: Catalog) -> Floats:
        """Arrange the stated tastes as `(1, n_genres)`, scaled so that the largest weight is 1.

        Raises
        ------
        DataContractError
            Names a genre that the catalog does not know.
        """
        tastes = np.zeros((1, len(catalog.genres)), dtype=np.float32)
        for genre, weight in self.genre_weights.items():
            if genre not in catalog.genres:
                raise DataContractError(f"genre {genre!r} is unknown; choose among {', '.join(catalog.genres)}")
            tastes[0, catalog.genres.index(genre)] = max(float(weight), 0.0)
        return np.asarray(tastes / max(float(tastes.max()), 1e-9), dtype=np.float32)

    def select_best(self, n: int, popularity: Floats) -> Ids:
        """Return the `n` best rated titles, ties by the popularity of each of `item_ids`, `(n_rated,)`."""
        return self.item_ids[np.lexsort((-popularity, -self.ratings))[:n]]


def build_profile(
    catalog: Catalog,
    ratings: Mapping[ItemId, float],
    *,
    statuses: Mapping[ItemId, WatchStatus],
    tastes: Mapping[Genre, float],
    shares: Mapping[Genre, float],
    unrated: Iterable[ItemId] = (),
) -> UserProfile:
    """Build a profile from what the catalog holds of what is known about a user.

    Parameters
    ----------
    tastes
        That the user stated.
    shares
        Of genres among what was watched: they stand in for tastes that nobody stated where nothing rated is left.
    unrated
        Titles that were watched, beside those with a status.
    """
    rated = catalog.select_known(ratings)
    known_shares = {} if len(rated) else {genre: shares[genre] for genre in catalog.genres if genre in shares}
    seen = [item_id for item_id, status in statuses.items() if status is not WatchStatus.Planned]
    return UserProfile(
        rated,
        np.array([ratings[item_id] for item_id in rated.tolist()], dtype=np.float32),
        tastes or known_shares,
        catalog.select_known([*seen, *unrated]),
        catalog.select_known(item_id for item_id, status in statuses.items() if status is WatchStatus.Dropped),
    )


@dataclass(frozen=True)
class Recommendations:
    """A list, best first: ids, ordering scores and predicted ratings 1..10, all of one length."""

    item_ids: Ids
    scores: Floats
    predicted_ratings: Floats

    def __len__(self) -> int:
        return len(self.item_ids)
