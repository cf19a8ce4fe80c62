"""Evaluate ranked lists and predicted ratings: one value per user, so that models can be compared in pairs.

A ranked list is a row of catalog positions, best first, padded with -1 where the model had nothing more to say; the
targets are a CSR matrix whose stored non-zero entries are the relevant items. A user without a relevant target gets
NaN, because no list could be right or wrong for them; leave NaN out of means with `numpy.nanmean`.
"""

import numpy as np
import numpy.typing as npt

from recsys.exceptions import DataContractError, SchemaMismatchError
from recsys.types import Ids, Mask, Positions, RatingMatrix

PerUser = npt.NDArray[np.float64]
EMPTY = -1


def find_hits(ranked: Positions, targets: RatingMatrix, k: int) -> Mask:
    """Mark the relevant places of each list, `(n_users, k)`.

    Parameters
    ----------
    ranked
        Catalog positions, best first, `(n_users, at least one)`; -1 where there is no item. Only the first `k` count;
        a shorter list is filled up with misses.
    targets
        Relevant items, CSR `(n_users, n_items)`, rows in the order of `ranked`.

    Raises
    ------
    SchemaMismatchError
        If the rows do not match or a position lies outside the catalog.
    DataContractError
        If `k` is below 1 or a list names an item twice.
    """
    if k < 1:
        raise DataContractError(f"k is {k}; a list needs at least one place")
    n_users, n_items = targets.shape
    if ranked.ndim != 2 or len(ranked) != n_users:
        raise SchemaMismatchError(f"ranked lists of shape {ranked.shape} do not match the targets of {n_users} users")
    top = np.full((n_users, k), EMPTY, dtype=np.int64)
    width = min(k, ranked.shape[1])
    top[:, :width] = ranked[:, :width]
    if top.size and (top.min() < EMPTY or top.max() >= n_items):
        raise SchemaMismatchError(f"a ranked list holds a position outside the catalog of {n_items} titles")
    filled = top != EMPTY
    _refuse_duplicates(top)
    # A cell's key is unique in the whole matrix, so that all lists are looked up in one pass.
    relevant = _relevant_cells(targets)
    keys = np.arange(n_users, dtype=np.int64)[:, np.newaxis] * n_items + top
    return np.asarray(np.isin(keys, relevant) & filled, dtype=np.bool_)


def _refuse_duplicates(top: Ids) -> None:
    ordered = np.sort(top, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != EMPTY)
    if repeated.any():
        row = int(np.flatnonzero(repeated.any(axis=1))[0])
        raise DataContractError(f"the ranked list of row {row} names an item twice; rank every item once")


def _relevant_cells(targets: RatingMatrix) -> Ids:
    coordinates = targets.tocoo()
    stored = coordinates.data != 0
    keys = coordinates.row[stored].astype(np.int64) * targets.shape[1] + coordinates.col[stored]
    return np.asarray(keys, dtype=np.int64)


def count_relevant(targets: RatingMatrix) -> Ids:
    """Count the relevant items of each user, `(n_users,)`."""
    n_users, n_items = targets.shape
    return np.bincount(_relevant_cells(targets) // max(n_items, 1), minlength=n_users).astype(np.int64)


def _where_defined(values: npt.ArrayLike, n_relevant: Ids) -> PerUser:
    return np.where(n_relevant > 0, values, np.nan).astype(np.float64)


def _ndcg(hits: Mask, n_relevant: Ids) -> PerUser:
    k = hits.shape[1]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[1.0], np.cumsum(discounts)])[np.clip(n_relevant, 0, k)]
    return _where_defined((hits @ discounts) / ideal, n_relevant)


def _reciprocal_rank(hits: Mask, n_relevant: Ids) -> PerUser:
    found = hits.any(axis=1)
    return _where_defined(np.where(found, 1.0 / (hits.argmax(axis=1) + 1), 0.0), n_relevant)


def ndcg_at_k(ranked: Positions, targets: RatingMatrix, k: int = 10) -> PerUser:
    """Compute the normalised discounted cumulative gain with binary relevance, in 0..1, `(n_users,)`.

    The gain of rank r is discounted by log2(r + 1); the ideal list has min(k, number of relevant items) hits at its
    top (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002).

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> ndcg_at_k(np.array([[0, 2], [1, -1]]), csr_matrix([[0, 0, 1], [0, 1, 0]])).round(3).tolist()
    [0.631, 1.0]
    """
    return _ndcg(find_hits(ranked, targets, k), count_relevant(targets))


def recall_at_k(ranked: Positions, targets: RatingMatrix, k: int = 10) -> PerUser:
    """Compute the share of a user's relevant items that the list finds, in 0..1, `(n_users,)`."""
    n_relevant = count_relevant(targets)
    return _where_defined(find_hits(ranked, targets, k).sum(axis=1) / np.maximum(n_relevant, 1), n_relevant)


def precision_at_k(ranked: Positions, targets: RatingMatrix, k: int = 10) -> PerUser:
    """Compute the share of the k places that hold a relevant item, empty places being misses, in 0..1, `(n_users,)`."""
    return _where_defined(find_hits(ranked, targets, k).mean(axis=1), count_relevant(targets))


def hit_rate_at_k(ranked: Positions, targets: RatingMatrix, k: int = 10) -> PerUser:
    """Tell with 1 or 0 whether the list finds anything relevant, `(n_users,)`."""
    return _where_defined(find_hits(ranked, targets, k).any(axis=1), count_relevant(targets))


def reciprocal_rank_at_k(ranked: Positions, targets: RatingMatrix, k: int = 10) -> PerUser:
    """Compute one over the rank of the first relevant item, 0 if the list has none, `(n_users,)`."""
    return _reciprocal_rank(find_hits(ranked, targets, k), count_relevant(targets))


def compute_ranking_metrics(ranked: Positions, targets: RatingMatrix, k: int = 10) -> dict[str, PerUser]:
    """Compute all ranking metrics of one look-up, by name (`ndcg_at_10`, ...), each `(n_users,)`."""
    hits, n_relevant = find_hits(ranked, targets, k), count_relevant(targets)
    return {
        f"ndcg_at_{k}": _ndcg(hits, n_relevant),
        f"recall_at_{k}": _where_defined(hits.sum(axis=1) / np.maximum(n_relevant, 1), n_relevant),
        f"precision_at_{k}": _where_defined(hits.mean(axis=1), n_relevant),
        f"hit_rate_at_{k}": _where_defined(hits.any(axis=1), n_relevant),
        f"reciprocal_rank_at_{k}": _reciprocal_rank(hits, n_relevant),
    }


def absolute_rating_error(
    predicted: npt.ArrayLike, observed: npt.ArrayLike, user_rows: npt.ArrayLike, *, n_users: int | None = None
) -> PerUser:
    """Compute the mean absolute error of each user's predicted ratings, in rating points, `(n_users,)`.

    The mean is taken per user first, so that someone with a thousand ratings weighs as much as someone with ten.

    Parameters
    ----------
    predicted, observed
        Ratings, `(n_ratings,)`.
    user_rows
        Row of the user that each rating belongs to, `(n_ratings,)`.
    n_users
        Length of the result; by default one more than the largest row. A user without a rating gets NaN.

    Raises
    ------
    SchemaMismatchError
        If the three do not have the same length, or a row lies outside `n_users`.
    """
    errors = np.abs(np.asarray(predicted, dtype=np.float64) - np.asarray(observed, dtype=np.float64))
    rows = np.asarray(user_rows, dtype=np.int64)
    if errors.shape != rows.shape or errors.ndim != 1:
        raise SchemaMismatchError(f"{errors.shape} ratings do not match {rows.shape} user rows")
    length = int(rows.max(initial=-1)) + 1 if n_users is None else n_users
    if rows.size and (rows.min() < 0 or rows.max() >= length):
        raise SchemaMismatchError(f"a user row lies outside 0..{length - 1}")
    counts = np.bincount(rows, minlength=length)
    sums = np.bincount(rows, weights=errors, minlength=length)
    return _where_defined(sums / np.maximum(counts, 1), counts)
