"""Sums over the rows of an item-item matrix, compiled when first used."""

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.types import Floats, Mask, Positions

Integers = npt.NDArray[np.integer]
SUMMARIES = 5


# Four sums, so that no addition waits for the one before.
@njit(nogil=True, boundscheck=False)
def _add_positive(values: Floats, begin: int, end: int) -> float:
    one, two, three, four = 0.0, 0.0, 0.0, 0.0
    entry = begin
    while entry + 4 <= end:
        one += max(values[entry], np.float32(0.0))
        two += max(values[entry + 1], np.float32(0.0))
        three += max(values[entry + 2], np.float32(0.0))
        four += max(values[entry + 3], np.float32(0.0))
        entry += 4
    while entry < end:
        one += max(values[entry], np.float32(0.0))
        entry += 1
    return (one + two) + (three + four)


# Sums are kept in double precision, so that they do not depend on the order of the entries.
@njit(nogil=True, boundscheck=False)
def _summarise(
    indptr: Integers,
    indices: Integers,
    values: Floats,
    ends: Integers,
    seen: Integers,
    deviations: Floats,
    counts: Integers,
    columns: Integers,
    is_seen: Mask,
    spread: Floats,
    summaries: Floats,
) -> None:
    pair = 0
    for user in range(len(counts)):
        for place in range(ends[user], ends[user + 1]):
            is_seen[seen[place]] = True
            spread[seen[place]] = deviations[place]
        for _ in range(counts[user]):
            begin, end = indptr[columns[pair]], indptr[columns[pair] + 1]
            strongest, number = np.float32(0.0), 0
            total, deviation = 0.0, 0.0
            # Few titles of a row are in a history: the others cost no more than a look.
            for entry in range(begin, end):
                title, weight = indices[entry], values[entry]
                if is_seen[title] and weight > 0:
                    strongest = max(strongest, weight)
                    number += 1
                    total += weight
                    deviation += np.float64(weight) * spread[title]
            summaries[0, pair] = strongest
            summaries[1, pair] = number
            summaries[2, pair] = total
            summaries[3, pair] = deviation
            summaries[4, pair] = _add_positive(values, begin, end)
            pair += 1
        for place in range(ends[user], ends[user + 1]):
            is_seen[seen[place]] = False


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


def sum_by_group(
    histories: tuple[Integers, Integers, Floats], counts: Integers, wanted: Positions, groups: Positions
) -> tuple[Floats, Floats]:
    """Sum the histories of users over groups of titles.

    Parameters
    ----------
    histories, counts
        As in `summarise_rows`.
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


def summarise_rows(
    matrix: tuple[Integers, Integers, Floats],
    histories: tuple[Integers, Integers, Floats],
    counts: Integers,
    columns: Positions,
    n_items: int,
) -> Floats:
    """Summarise the rows of a matrix over the histories of users, `(5, n_pairs)`; weights below 0 do not count.

    Parameters
    ----------
    matrix
        Row ends, columns and values of a CSR matrix `(n_items, n_items)`.
    histories
        The same of the users' histories, `(n_users, n_items)`, with deviations from the mean as values.
    counts
        Pairs of each user, `(n_users,)`.
    columns
        Row of the matrix that each pair reads, `(n_pairs,)`.

    Returns
    -------
    The largest weight of a watched title, the number of such weights, their sum, the sum of them times the deviations,
    and the sum of all weights, watched or not.
    """
    summaries = np.empty((SUMMARIES, len(columns)), dtype=np.float32)
    is_seen, spread = np.zeros(n_items, dtype=np.bool_), np.empty(n_items, dtype=np.float32)
    _summarise(*matrix, *histories, counts, columns, is_seen, spread, summaries)
    return summaries
