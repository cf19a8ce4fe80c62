"""Sums over histories and the weights of item-item models, compiled when first used."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.features.support import Support
from recsys.types import Floats, Mask, Positions

Integers = npt.NDArray[np.integer]
Doubles = npt.NDArray[np.float64]
Matrix: TypeAlias = tuple[Integers, Integers, Floats]  # row ends, columns and values
SUMMARIES: Final = 4


@njit(nogil=True, boundscheck=False)
def _read_supporters(
    matrix: Matrix,
    seen: Integers,
    deviations: Floats,
    columns: Integers,
    is_seen: Mask,
    spread: Floats,
    sums: Doubles,
) -> None:
    """Look in the row of each candidate for titles of the history."""
    indptr, indices, values = matrix
    for place in range(len(seen)):
        is_seen[seen[place]] = True
        spread[seen[place]] = deviations[place]
    for pair in range(len(columns)):
        # Few titles of a row are in a history: the others cost no more than a look.
        for entry in range(indptr[columns[pair]], indptr[columns[pair] + 1]):
            title, weight = indices[entry], values[entry]
            if is_seen[title] and weight > 0:
                sums[0, pair] = max(sums[0, pair], weight)
                sums[1, pair] += 1
                sums[2, pair] += weight
                sums[3, pair] += np.float64(weight) * spread[title]
    for place in range(len(seen)):
        is_seen[seen[place]] = False


@njit(nogil=True, boundscheck=False)
def _read_supported(
    matrix: Matrix,
    seen: Integers,
    deviations: Floats,
    pairs: Integers,
    sums: Doubles,
) -> None:
    """Look in the row of each title of the history for candidates."""
    indptr, indices, values = matrix
    for place in range(len(seen)):
        for entry in range(indptr[seen[place]], indptr[seen[place] + 1]):
            pair, weight = pairs[indices[entry]], values[entry]
            if pair >= 0 and weight > 0:
                sums[0, pair] = max(sums[0, pair], weight)
                sums[1, pair] += 1
                sums[2, pair] += weight
                sums[3, pair] += np.float64(weight) * deviations[place]


@njit(nogil=True, boundscheck=False)
def _number(columns: Integers, pairs: Integers) -> bool:
    """Note the pair of each title; tell whether each title has one pair."""
    for pair in range(len(columns)):
        if pairs[columns[pair]] >= 0:
            return False
        pairs[columns[pair]] = pair
    return True


@njit(nogil=True, boundscheck=False)
def _count_entries(indptr: Integers, rows: Integers) -> int:
    number = 0
    for row in rows:
        number += indptr[row + 1] - indptr[row]
    return number


# Both ways add up in the order of the history, so that they give the same bits; the one with fewer entries is taken.
@njit(nogil=True, boundscheck=False)
def _summarise(
    supporters: Matrix,
    weights: Matrix,
    history: Matrix,
    counts: Integers,
    columns: Integers,
    summaries: Floats,
) -> None:
    ends, seen, deviations = history
    n_items = len(supporters[0]) - 1
    is_seen, spread = np.zeros(n_items, dtype=np.bool_), np.empty(n_items, dtype=np.float32)
    pairs = np.full(n_items, -1, dtype=np.int32)
    start = 0
    for user in range(len(counts)):
        stop = start + counts[user]
        wanted, sums = columns[start:stop], np.zeros((SUMMARIES, counts[user]), dtype=np.float64)
        own, gaps = seen[ends[user] : ends[user + 1]], deviations[ends[user] : ends[user + 1]]
        is_short = _count_entries(weights[0], own) < _count_entries(supporters[0], wanted)
        if is_short and _number(wanted, pairs):
            _read_supported(weights, own, gaps, pairs, sums)
        else:
            _read_supporters(supporters, own, gaps, wanted, is_seen, spread, sums)
        pairs[wanted] = -1
        for kind in range(SUMMARIES):
            for pair in range(counts[user]):
                summaries[kind, start + pair] = sums[kind, pair]
        start = stop


@njit(nogil=True, boundscheck=False)
def _sum_by_group(
    ends: Integers,
    seen: Integers,
    deviations: Floats,
    counts: Integers,
    wanted: Integers,
    groups: Integers,
    spread: Floats,
    sums: Floats,
) -> None:
    pair = 0
    for user in range(len(counts)):
        for place in range(ends[user], ends[user + 1]):
            spread[groups[seen[place]], 0] += np.float32(1.0)
            spread[groups[seen[place]], 1] += deviations[place]
        for _ in range(counts[user]):
            sums[0, pair] = spread[wanted[pair], 0]
            sums[1, pair] = spread[wanted[pair], 1]
            pair += 1
        for place in range(ends[user], ends[user + 1]):
            spread[groups[seen[place]], 0] = 0.0
            spread[groups[seen[place]], 1] = 0.0


def sum_by_group(histories: Matrix, counts: Integers, wanted: Positions, groups: Positions) -> tuple[Floats, Floats]:
    """Sum the histories of users over groups of titles.

    Parameters
    ----------
    histories, counts
        As in `summarise_pairs`.
    wanted
        The group that each pair reads, `(n_pairs,)`.
    groups
        Group of each title, from 0, `(n_items,)`.

    Returns
    -------
    Titles of the group in the history, and the sum of their deviations, `(n_pairs,)` both.
    """
    sums = np.empty((2, len(wanted)), dtype=np.float32)
    spread = np.zeros((int(groups.max(initial=0)) + 1, 2), dtype=np.float32)
    _sum_by_group(*histories, counts, wanted, groups, spread, sums)
    return sums[0], sums[1]


def summarise_pairs(support: Support, histories: Matrix, counts: Integers, columns: Positions) -> Floats:
    """Summarise what the titles of histories say about candidates, `(4, n_pairs)`; weights below 0 do not count.

    Parameters
    ----------
    histories
        Row ends, titles and deviations from the user's mean of a CSR matrix `(n_users, n_items)`, titles ascending.
    counts
        Pairs of each user, `(n_users,)`.
    columns
        Title of each pair, `(n_pairs,)`.

    Returns
    -------
    The largest weight of a watched title, the number of such weights, their sum, and the sum of them times the
    deviations.
    """
    summaries = np.empty((SUMMARIES, len(columns)), dtype=np.float32)
    supporters, weights = (
        (matrix.indptr, matrix.indices, matrix.data) for matrix in (support.supporters, support.weights)
    )
    _summarise(supporters, weights, histories, counts, columns, summaries)
    return summaries
