"""What speaks for two titles being of one franchise: shared users, studios, sources and similar names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.titles.names import find_adult
from recsys.features.franchises.names import TitleNames
from recsys.types import Mask, Positions, RatingMatrix

MIN_RATINGS: Final = 3  # with fewer ratings of either title nothing is known of their users
# Where nearly all who rated one title rated the other, which everybody rated, the lift cannot be large.
MIN_SHARE, MIN_SHARE_LIFT, MIN_SHARE_RATINGS = 0.6, 1.2, 5
SHARED_LIFT: Final = 3.0

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Facts about pairs of titles, each `(n_pairs,)`.

    Parameters
    ----------
    first, second
        Positions.
    is_known
        Whether both have ratings enough to compare their users.
    lift
        Users who rated both, over those expected if users chose independently; heavy users are accounted for.
    share
        The part of the users of the lesser title who rated the other.
    same_studio, same_source
        Whether a studio, or the source, is the same.
    """

    first: Positions
    second: Positions
    is_known: Mask
    lift: Values
    share: Values
    n_lesser: Values
    same_studio: Mask
    same_source: Mask

    def have_lift(self, least: float) -> Mask:
        """Tell which pairs share users clearly more often than chance would have it, `(n_pairs,)`."""
        nearly_all = (self.share >= MIN_SHARE) & (self.lift >= MIN_SHARE_LIFT) & (self.n_lesser >= MIN_SHARE_RATINGS)
        return np.asarray(self.is_known & ((self.lift >= least) | nearly_all), dtype=np.bool_)


@dataclass(frozen=True)
class Relations:
    """The catalog and its training users, as the grouping reads them."""

    catalog: Catalog
    names: TitleNames
    raters: RatingMatrix  # CSR (n_items, n_users), one where a user rated a title
    n_ratings: Values
    crowding: float  # the probability that two ratings are of one user
    studios: list[frozenset[str]]
    sources: npt.NDArray[Any]
    is_adult: Mask

    @classmethod
    def build(cls, catalog: Catalog, ratings: RatingMatrix | None) -> "Relations":
        """Read a catalog and, where there are any, ratings `(n_users, n_items)`."""
        n_items = len(catalog)
        raters = csr_matrix((n_items, 1), dtype=np.float32) if ratings is None else csr_matrix(ratings.T)
        raters.data = np.ones_like(raters.data)
        lengths = np.asarray(raters.sum(axis=0), dtype=np.float64).ravel()
        total = max(float(lengths.sum()), 1.0)
        return cls(
            catalog,
            TitleNames.build(catalog),
            raters,
            np.asarray(np.diff(raters.indptr), dtype=np.float64),
            float((lengths**2).sum()) / total**2,
            [frozenset(studios) for studios in catalog.items[ItemColumns.Studios]],
            catalog.items[ItemColumns.Source].fillna("?").to_numpy(),
            find_adult(catalog.items),
        )

    def compare(self, first: Positions, second: Positions) -> Pairs:
        """Compare pairs of titles."""
        together = np.zeros(len(first))
        for start in range(0, len(first), 20_000):  # bounds the memory
            part = slice(start, start + 20_000)
            shared = self.raters[first[part]].multiply(self.raters[second[part]])
            together[part] = np.asarray(shared.sum(axis=1)).ravel()
        one, other = self.n_ratings[first], self.n_ratings[second]
        lesser = np.minimum(one, other)
        return Pairs(
            first,
            second,
            lesser >= MIN_RATINGS,
            self._compute_lift(together, one, other),
            together / np.maximum(lesser, 1),
            lesser,
            np.array([bool(self.studios[a] & self.studios[b]) for a, b in zip(first, second, strict=True)], dtype=bool),
            np.asarray(self.sources[first] == self.sources[second], dtype=np.bool_),
        )

    def _compute_lift(self, together: Values, one: Values, other: Values) -> Values:
        """Divide the users whom titles share by those expected, both slightly raised: few users prove little."""
        return np.asarray((together + 0.1) / (one * other * self.crowding + 0.1))

    def find_typical_lift(self, first: Sequence[int], second: Sequence[int]) -> float | None:
        """Return the upper quartile of the lifts between two groups of titles; None where too few rated them."""
        rows, columns = np.array(first), np.array(second)
        together = (self.raters[rows] @ self.raters[columns].T).toarray().astype(np.float64)
        one, other = self.n_ratings[rows][:, None], self.n_ratings[columns][None, :]
        lesser = np.minimum(one, other)
        lift = self._compute_lift(together, one, other)
        share = together / np.maximum(lesser, 1)
        nearly_all = ((share >= MIN_SHARE) & (lift >= MIN_SHARE_LIFT)) | ((share >= 0.75) & (lift >= 1))
        lift = np.where(nearly_all, np.maximum(lift, SHARED_LIFT), lift)[lesser >= MIN_RATINGS]
        return float(np.percentile(lift, 75)) if len(lift) else None

    def share_studio(self, first: Sequence[int], second: Sequence[int]) -> bool:
        """Whether any two titles of two groups are of one studio."""
        one = frozenset().union(*(self.studios[position] for position in first))
        return any(one & self.studios[position] for position in second)
