"""What decides about a list besides a model: the order of seasons, disliked franchises, popularity."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from recsys.data.catalog import Catalog
from recsys.features.franchises import Franchises
from recsys.recommender.profile import UserProfile
from recsys.types import Floats, Mask, Positions, RatingMatrix

Seasons = Literal["next", "all"]

DISLIKED_MEAN: Final = 4.0  # of the ratings of a franchise; it is disliked up to this
# How many standard deviations of the scores the popularity of a title moves at the ends of the slider.
POPULARITY_WEIGHT: Final = 2.0
# Training users who like a title at which half of its evidence counts.
EVIDENCE_LIKES: Final = 3.0


@dataclass(frozen=True)
class ListOptions:
    """How a list is made.

    Parameters
    ----------
    diversity
        0..1, see `select_diverse`; above 0 a franchise comes once.
    popularity
        -1..1: from rarely to often watched titles; 0 is as learnt.
    seasons
        "next" for at most one title of each franchise, whose earlier seasons are all watched; "all" for any.
    without_disliked
        Whether titles of disliked franchises are left out.
    """

    diversity: float = 0.0
    popularity: float = 0.0
    seasons: Seasons = "all"
    without_disliked: bool = False

    @property
    def once_each(self) -> bool:
        """Whether a franchise may come once only."""
        return self.seasons == "next" or self.diversity > 0


PLAIN: Final = ListOptions()  # as the scores have it


def find_watched(profile: UserProfile, catalog: Catalog) -> Mask:
    """Mark what a user has rated or is known to have seen, `(n_items,)`."""
    watched = np.zeros(len(catalog), dtype=np.bool_)
    watched[catalog.positions(profile.item_ids)] = True
    watched[catalog.positions(profile.seen_item_ids)] = True
    watched[catalog.positions(profile.dropped_item_ids)] = True
    return watched


def find_disliked(profile: UserProfile, catalog: Catalog, franchises: Franchises) -> Mask:
    """Mark the titles of franchises that a user dropped a part of or rated 4 or less on average, `(n_items,)`."""
    numbers = franchises.numbers
    positions = catalog.positions(profile.item_ids)
    n_franchises = int(numbers.max()) + 1
    counts = np.bincount(numbers[positions], minlength=n_franchises)
    sums = np.bincount(numbers[positions], weights=profile.ratings, minlength=n_franchises)
    disliked = (counts > 0) & (sums <= DISLIKED_MEAN * counts)
    disliked[numbers[catalog.positions(profile.dropped_item_ids)]] = True
    return np.asarray(disliked[numbers], dtype=np.bool_)


def find_next(watched: Mask, franchises: Franchises) -> Mask:
    """Mark the titles of which all earlier seasons are watched, `(n_items,)`."""
    n_known = franchises.requirements @ watched.astype(np.float32)
    return np.asarray(n_known >= franchises.n_required, dtype=np.bool_)


def keep_first(positions: Positions, franchises: Franchises) -> Positions:
    """Return the places of the first title of each franchise in a list, ascending."""
    return np.sort(np.unique(franchises.numbers[positions], return_index=True)[1])


def rank_by_popularity(members: Floats, likes: Floats) -> npt.NDArray[np.float64]:
    """Return the popularity rank of each title by members and then likes, 1 for the most popular, `(n_items,)`."""
    order = np.lexsort((np.arange(len(members)), -likes, -np.nan_to_num(members, nan=-1.0)))
    ranks = np.empty(len(members), dtype=np.float64)
    ranks[order] = np.arange(1, len(members) + 1)
    return ranks


def shift_by_popularity(scores: Floats, ranks: npt.NDArray[np.float64], likes: Floats, popularity: float) -> Floats:
    """Move scores towards popular titles above 0, towards rarely watched ones below.

    The larger the slider, the more popular the list: what is added grows with the popularity rank alone, and a list of
    the best sums can only gain of it. Below 0 the gain of a title is shrunk by `likes / (likes + 3)`, since a title
    that few like is scored by little evidence.

    Parameters
    ----------
    scores, ranks, likes
        Of the candidates, `(n_candidates,)`; likes are of training users.
    popularity
        -1..1.
    """
    if not popularity or len(scores) < 2:
        return scores
    spread = float(ranks.std())
    if spread <= 0:
        return scores
    gains = (ranks.mean() - ranks) / spread
    if popularity < 0:
        gains = np.where(gains < 0, -gains * likes / (likes + EVIDENCE_LIKES), -gains)
    return np.asarray(
        scores + abs(popularity) * POPULARITY_WEIGHT * float(scores.std() or 1.0) * gains, dtype=np.float32
    )


def likes_nothing(history: RatingMatrix, positive: float) -> bool:
    """Whether a user rated titles and liked none of them."""
    return bool(history.nnz and float(history.data.max()) < positive)


def agree(scores: Floats, ratings: Floats, mean: float) -> Floats:
    """Order candidates of a user who likes nothing so that score and predicted rating agree, `(n_candidates,)`.

    The mean of both percentiles, 0..1; titles predicted below the user's own mean come after all others.
    """
    percentiles = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (scores, ratings)]
    agreed = np.mean(percentiles, axis=0) / max(len(scores) - 1, 1)
    return np.asarray(np.where(ratings >= mean, agreed, agreed - 1.5), dtype=np.float32)
