"""Measure what a model shows, right or wrong: how much of the catalog, how novel, how popular, how diverse.

Lists are rows of catalog positions padded with -1, as in `recsys.gate.metrics`; popularity is the number of
training users who rated each item, `(n_items,)`.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

from recsys.exceptions import DataContractError, SchemaMismatchError
from recsys.gate.intervals import Interval
from recsys.gate.metrics import EMPTY, PerUser
from recsys.types import Floats, Mask, Positions

Counts = npt.NDArray[np.int64]


def catalog_coverage(ranked: Positions, n_items: int) -> float:
    """Compute the share of the catalog that appears in at least one list, in 0..1.

    The catalog coverage of Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy" (RecSys 2010).
    """
    if n_items < 1:
        raise DataContractError("coverage needs a catalog of at least one title")
    shown = np.unique(ranked[ranked != EMPTY])
    return shown.size / n_items


def _mean_per_list(values: PerUser, ranked: Positions) -> PerUser:
    filled = ranked != EMPTY
    lengths = filled.sum(axis=1)
    sums = np.where(filled, values[np.where(filled, ranked, 0)], 0.0).sum(axis=1)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1), np.nan).astype(np.float64)


def novelty(ranked: Positions, item_counts: Counts, n_users: int) -> PerUser:
    """Compute the mean self-information of each list in bits, `(n_lists,)`; NaN for an empty list.

    An item that a share p of the training users rated carries -log2(p) bits (Zhou et al., "Solving the apparent
    diversity-accuracy dilemma of recommender systems", PNAS 2010). An item nobody rated counts as rated by one.
    """
    if n_users < 1 or item_counts.max(initial=0) > n_users:
        raise SchemaMismatchError(f"an item cannot be rated by more than the {n_users} training users")
    bits = -np.log2(np.maximum(item_counts, 1) / n_users)
    return _mean_per_list(bits, ranked)


def find_popular_items(item_counts: Counts, share: float = 0.5) -> Mask:
    """Mark the head: the fewest most rated items that together hold `share` of all ratings, `(n_items,)`."""
    order = np.argsort(-item_counts, kind="stable")
    before = np.cumsum(item_counts[order]) - item_counts[order]
    head = np.zeros(item_counts.shape, dtype=np.bool_)
    head[order[before < share * item_counts.sum()]] = True
    return head


def popularity_share(ranked: Positions, item_counts: Counts, share: float = 0.5) -> PerUser:
    """Compute the share of each list that comes from the head, in 0..1, `(n_lists,)`; NaN for an empty list.

    One minus the "average percentage of long-tail items" of Abdollahpouri, Burke and Mobasher (RecSys 2017), with the
    head cut by the mass of ratings rather than by the number of titles: the same for catalogs of any size.
    """
    return _mean_per_list(find_popular_items(item_counts, share).astype(np.float64), ranked)


def intra_list_diversity(ranked: Positions, units: Floats) -> PerUser:
    """Compute the mean distance of all pairs in each list, 1 minus the cosine, in 0..1, `(n_lists,)`.

    The intra-list similarity of Ziegler et al., "Improving recommendation lists through topic diversification" (WWW
    2005), turned round. NaN for a list of fewer than two items.

    Parameters
    ----------
    units
        What items are compared by, non-negative rows of length 1 or 0, `(n_items, n_dimensions)`; an item without any
        mark, a row of zeros, is unlike every other.
    """
    filled = ranked != EMPTY
    lengths = filled.sum(axis=1)
    vectors = np.where(filled[..., np.newaxis], units[np.where(filled, ranked, 0)], 0.0)
    sums = vectors.sum(axis=1)
    cosines = ((sums**2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))) / 2
    n_pairs = lengths * (lengths - 1) / 2
    return np.where(n_pairs > 0, 1.0 - cosines / np.maximum(n_pairs, 1), np.nan).astype(np.float64)


def compute_overlap(ranked: Positions, others: Positions) -> float:
    """Compute the mean share of the titles of one list that the other list of the same user holds, in 0..1.

    Parameters
    ----------
    ranked, others
        `(n_users, k)`; a user with an empty list among `others` is left out, and 1 is returned where all are.

    Examples
    --------
    >>> compute_overlap(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [5, 3]]))
    0.75
    """
    if ranked.shape != others.shape:
        raise SchemaMismatchError(f"lists of shapes {ranked.shape} and {others.shape} cannot be compared user by user")
    lengths = (others != EMPTY).sum(axis=1)
    shared = ((ranked[:, :, np.newaxis] == others[:, np.newaxis]) & (ranked != EMPTY)[:, :, np.newaxis]).sum((1, 2))
    filled = lengths > 0
    return float((shared[filled] / lengths[filled]).mean()) if filled.any() else 1.0


def coverage_interval(ranked: Positions, n_items: int, *, level: float = 0.95) -> Interval:
    """Compute the catalog coverage of as many lists, with its interval over users.

    Drawing users anew would repeat some and cover less each time, so the bootstrap is off centre here; the jackknife is
    not. Its variance is the exact effect of leaving each user out, and never too small on average (Efron and Stein,
    "The jackknife estimate of variance", 1981).
    """
    coverage = catalog_coverage(ranked, n_items)
    counts = np.bincount(ranked[ranked != EMPTY], minlength=n_items)
    # Leaving a user out loses the items that nobody else is shown.
    only_here = (np.where(ranked != EMPTY, counts[np.where(ranked != EMPTY, ranked, 0)], 0) == 1).sum(axis=1) / n_items
    n_users = len(ranked)
    spread = np.sqrt((n_users - 1) / max(n_users, 1) * ((only_here - only_here.mean()) ** 2).sum())
    half = float(stats.norm.ppf((1 + level) / 2)) * spread
    return Interval(coverage, max(0.0, coverage - half), min(1.0, coverage + half), level, n_users)


def compute_list_metrics(ranked: Positions, item_counts: Counts, n_users: int) -> dict[str, float]:
    """Summarise the lists of a model: coverage, mean novelty, mean popularity share, share of lists not full."""
    full = (ranked != EMPTY).all(axis=1)
    empty = (ranked == EMPTY).all(axis=1)
    return {
        "catalog_coverage": catalog_coverage(ranked, item_counts.size),
        "novelty": _mean(novelty(ranked, item_counts, n_users)),
        "popularity_share": _mean(popularity_share(ranked, item_counts)),
        "short_list_share": float(1.0 - full.mean()) if full.size else 0.0,
        "empty_list_share": float(empty.mean()) if empty.size else 0.0,
    }


def _mean(values: PerUser) -> float:
    evaluated = values[~np.isnan(values)]
    return float(evaluated.mean()) if evaluated.size else 0.0
