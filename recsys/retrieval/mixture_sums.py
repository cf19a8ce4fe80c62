"""A mixture of linear scores without one title of a history after the other, compiled when first used.

The operations and their order are those of `EaseMixture.mix`, so that both give the same bits; here the scores of one
row stay in the cache of the processor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.features.pairs import PairScores
from recsys.types import Floats, Mask, Positions, RatingMatrix

Integers = npt.NDArray[np.integer]

SMALLEST: Final = np.float32(1e-6)  # that a score is divided by


@dataclass(frozen=True)
class Form:
    """One form of the mixture as a history has read it.

    Parameters
    ----------
    scores
        Of the whole history, before they are centred, `(n_items,)`.
    means
        Scores of the mean history, zeros for a form that is not centred, `(n_items,)`.
    weights
        CSR `(n_items, n_items)`.
    """

    scores: Floats
    means: Floats
    weights: RatingMatrix


@dataclass(frozen=True)
class Removal:
    """The titles that are removed, one in each row.

    Parameters
    ----------
    titles
        Their positions, `(n_rows,)`.
    evidence
        What each says in the history, 0 for what it does not hold, `(n_rows,)`.
    totals
        How much of the mean history is subtracted in each row, `(n_rows,)`.
    shares
        Weight of each form in each row, `(3, n_rows)`.
    """

    titles: Positions
    evidence: Floats
    totals: Floats
    shares: Floats


@njit(nogil=True, boundscheck=False)
def _remove(
    whole: Floats,
    means: Floats,
    total: float,
    evidence: float,
    removed: int,
    indptr: Integers,
    indices: Integers,
    values: Floats,
    seen: Mask,
    scores: Floats,
    best: Floats,
) -> np.float32:
    """Compute the centred scores without a title; return the size that they are divided by."""
    for title in range(len(whole)):
        scores[title] = whole[title] - total * means[title]
    for entry in range(indptr[removed], indptr[removed + 1]):
        title = indices[entry]
        scores[title] = (whole[title] - evidence * values[entry]) - total * means[title]
    last = len(best) - 1
    for place in range(len(best)):
        best[place] = -np.inf
    for title in range(len(scores)):
        score = scores[title]
        if score > best[last] and (title == removed or not seen[title]):
            place = last
            while place > 0 and best[place - 1] < score:
                best[place] = best[place - 1]
                place -= 1
            best[place] = score
    if not np.isfinite(best[last]):
        return np.float32(1.0)
    return np.float32(max(abs(best[last]), SMALLEST))


@njit(nogil=True, boundscheck=False)
def _mix_without(
    removal: tuple[Positions, Floats, Floats, Floats],
    one: tuple[Floats, Floats, Integers, Integers, Floats],
    short: tuple[Floats, Floats, Integers, Integers, Floats],
    sparse: tuple[Floats, Floats, Integers, Integers, Floats],
    seen: Mask,
    ends: Integers,
    columns: Integers,
    scores: Floats,
    tenth: Floats,
    values: Floats,
    best: Floats,
) -> None:
    titles, evidence, totals, shares = removal
    pair = 0
    for row in range(len(titles)):
        how = (totals[row], evidence[row], titles[row])
        first = _remove(one[0], one[1], *how, one[2], one[3], one[4], seen, scores[0], tenth)
        second = _remove(short[0], short[1], *how, short[2], short[3], short[4], seen, scores[1], tenth)
        third = _remove(sparse[0], sparse[1], *how, sparse[2], sparse[3], sparse[4], seen, scores[2], tenth)
        for title in range(len(seen)):
            mixed = shares[0, row] * (scores[0, title] / first)
            mixed += shares[1, row] * (scores[1, title] / second)
            scores[0, title] = mixed + shares[2, row] * (scores[2, title] / third)
        for title in range(len(seen)):
            if scores[0, title] > best[row]:
                best[row] = scores[0, title]
        while pair < ends[row]:
            values[pair] = scores[0, columns[pair]]
            pair += 1


def score_pairs_without(
    forms: Sequence[Form], removal: Removal, seen: Mask, n_best: int, rows: Positions, columns: Positions
) -> PairScores:
    """Mix three forms without each of some titles.

    Parameters
    ----------
    forms
        Three.
    seen
        Titles of the whole history, `(n_items,)`.
    n_best
        The place whose score is the size that scores are divided by.
    rows, columns
        Row, ascending, and title of each pair, `(n_pairs,)`.
    """
    best = np.full(len(removal.titles), -np.inf, dtype=np.float32)
    values = np.empty(len(columns), dtype=np.float32)
    scores, tenth = np.empty((3, len(seen)), dtype=np.float32), np.empty(n_best, dtype=np.float32)
    ends = np.searchsorted(rows, np.arange(len(removal.titles)), side="right")
    one, short, sparse = (
        (form.scores, form.means, form.weights.indptr, form.weights.indices, form.weights.data) for form in forms
    )
    _mix_without(
        (removal.titles, removal.evidence, removal.totals, removal.shares),
        one,
        short,
        sparse,
        seen,
        ends,
        columns,
        scores,
        tenth,
        values,
        best,
    )
    return PairScores(values, best)
