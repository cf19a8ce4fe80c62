"""The loops in which a forest spends its time, compiled when this module is imported.

Compiled for the machine at hand, in a second or two, and kept in memory: a cache on disk would be a pickle. Values are
copied one by one: for the assignment of a slice Numba compiles how its error would be spelled, which takes as long as
all the rest.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys.ranking.forest_codes import count_lanes, keep_order, plant_tree, search_lanes
from recsys.ranking.forest_lanes import LANES, ROWS, WIDE, grow
from recsys.ranking.forest_sums import GROUP, add_one_by_one, add_together

Function = TypeVar("Function", bound=Callable[..., Any])
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]

MAX_DEPTH: Final = 512
MAX_CUTS: Final = 254
REPEATED: Final = 0x01010101
ZERO: Final = np.float32(1e-35)  # LightGBM takes what is not larger for zero


def compile_kernel(signature: str) -> Callable[[Function], Function]:
    """Compile a function now and for one signature; it runs without the lock of the interpreter."""
    return cast("Callable[[Function], Function]", njit(signature, nogil=True, boundscheck=False, error_model="numpy"))


@njit(nogil=True, boundscheck=False)
def agree(codes: Bytes) -> int:
    """Return what all codes are, -1 if they differ or there are none."""
    for start in range(0, len(codes), ROWS):
        n_others = 0
        for code in codes[start : start + ROWS]:
            n_others += code != codes[0]
        if n_others:
            return -1
    return int(codes[0]) if len(codes) else -1


def compile_encode(*, wide: bool = WIDE) -> Callable[..., None]:
    """Compile `encode` for processors that look sixteen numbers up at once, or for any."""
    arrange, find = (plant_tree, search_lanes) if wide else (keep_order, count_lanes)

    @compile_kernel(
        "void(f4[:,::1], i4[::1], f4[:,::1], i4[::1], u1[::1], u1[::1], u1[::1], u1[::1], u1[:,::1], i2[::1])"
    )
    def encode(
        table: npt.NDArray[np.float32],
        features: Integers,
        cuts: npt.NDArray[np.float32],
        n_cuts: Integers,
        shifts: Bytes,
        missing_codes: Bytes,
        zero_is_missing: Bytes,
        are_twins: Bytes,
        codes: Bytes,
        known: npt.NDArray[np.int16],
    ) -> None:
        """Translate values into bytes: the number of cuts below the value, or the code of what is missing.

        Parameters
        ----------
        table
            `(n_features, n_rows)`: the values of a feature stand together.
        features
            Which feature each column encodes, `(n_columns,)` like all that follows.
        cuts
            `(n_columns, 254)`, of which the first `n_cuts` of a column count.
        shifts, missing_codes, zero_is_missing
            Added to the number of cuts; the code of a missing value; whether zero is a missing value, as NaN always is.
        are_twins
            Whether the code is one more than that of the column before, where 255 is followed by 0.
        codes
            `(n_columns, n_padded)`, where the result goes; what no row fills means nothing.
        known
            `(n_columns,)`, where the code goes that all rows have in a column, -1 if they differ.
        """
        n_rows = table.shape[1]
        n_whole = n_rows - n_rows % LANES
        rest = np.zeros(LANES, dtype=np.float32)
        own = np.empty(MAX_CUTS + 2, dtype=np.float32)
        for column in range(len(features)):
            values, out = table[features[column]], codes[column]
            if are_twins[column] and column > 0:
                for row in range(n_rows):
                    out[row] = codes[column - 1, row] + 1
                known[column] = agree(out[:n_rows])
                continue
            size = np.int64(arrange(cuts[column], n_cuts[column], own))
            shift, missing = np.int32(shifts[column]), np.int32(missing_codes[column])
            # No absolute value is as small as -1, so only NaN is missing.
            zero = ZERO if zero_is_missing[column] else np.float32(-1.0)
            for first in range(0, n_whole, LANES):
                find(values[first:], own, size, shift, missing, zero, out[first:])
            if n_whole < n_rows:
                for row in range(n_whole, n_rows):
                    rest[row - n_whole] = values[row]
                find(rest, own, size, shift, missing, zero, out[n_whole:])
            known[column] = agree(out[:n_rows])

    return encode


encode = compile_encode()


@compile_kernel("void(i4[::1], i4[:,::1], f8[::1], i2[::1], i4[::1], i4[:,::1], i4[::1], f8[::1])")
def resolve(
    roots: Integers,
    splits: Integers,
    leaf_values: Doubles,
    known: npt.NDArray[np.int16],
    out_columns: Integers,
    out_steps: Integers,
    out_starts: Integers,
    out_values: Doubles,
) -> None:
    """Walk past the splits whose outcome is known, and put what is left of each tree in order.

    Parameters
    ----------
    roots
        First split of each tree, `(n_trees,)`; a number below 0 is the leaf ~number, here and in `splits`.
    splits
        `(n_splits, 4)`: a column, a limit, and where a row goes whose code in this column is not above it, or is.
    known
        The code that all rows have in a column, `(n_columns,)`; -1 where they differ.
    out_columns, out_steps
        Of each split that is left: its column, and limit, leaf that it splits, leaf for those that go right, the byte
        of each repeated four times, as registers are filled fastest.
    out_starts
        `(n_trees + 1,)`: where the splits of a tree begin; its leaves begin one later for each tree before it.
    """
    pending = np.empty((MAX_DEPTH, 2), dtype=np.int32)
    n_splits = 0
    for tree in range(len(roots)):
        out_starts[tree] = n_splits
        pending[0, 0], pending[0, 1] = roots[tree], 0
        n_pending, n_leaves = 1, 1
        while n_pending > 0:
            n_pending -= 1
            node, leaf = pending[n_pending, 0], pending[n_pending, 1]
            while node >= 0 and known[splits[node, 0]] >= 0:
                node = splits[node, 2 if known[splits[node, 0]] <= splits[node, 1] else 3]
            if node < 0:
                out_values[out_starts[tree] + tree + leaf] = leaf_values[~node]
                continue
            out_columns[n_splits] = splits[node, 0]
            out_steps[n_splits, 0] = splits[node, 1] * REPEATED
            out_steps[n_splits, 1], out_steps[n_splits, 2] = leaf * REPEATED, n_leaves * REPEATED
            pending[n_pending, 0], pending[n_pending, 1] = splits[node, 3], n_leaves
            pending[n_pending + 1, 0], pending[n_pending + 1, 1] = splits[node, 2], leaf
            n_pending, n_leaves, n_splits = n_pending + 2, n_leaves + 1, n_splits + 1
    out_starts[len(roots)] = n_splits


def compile_replay(*, wide: bool = WIDE) -> Callable[..., None]:
    """Compile `replay` for processors that pick from sixteen numbers at once, or for any."""
    add = add_together if wide else add_one_by_one

    @compile_kernel("void(i4[::1], i4[:,::1], i4[::1], f8[::1], u1[:,::1], u1[:,::1], i8, f8[::1])")
    def replay(
        columns: Integers,
        steps: Integers,
        starts: Integers,
        leaf_values: Doubles,
        fixed_codes: Bytes,
        codes: Bytes,
        n_fixed: int,
        scores: Doubles,
    ) -> None:
        """Add up the leaves that rows fall into, by growing every tree again.

        All rows start in leaf 0; a split sends those of one leaf that lie above its limit to a new leaf. That is two
        comparisons and a masked move for 64 rows at a time, without a branch and without a random access. Four trees
        are grown before their leaves are added up, so that a sum is read and written once for all of them.

        Parameters
        ----------
        columns, steps, starts, leaf_values
            What `resolve` left of the forest.
        fixed_codes, codes
            `(n_fixed, n_padded)` and `(n_columns - n_fixed, n_padded)`: the columns from 0 to n_fixed, and the others.
        scores
            `(n_padded,)`, added to in the order of the trees, so that the result is LightGBM's to the last bit.
        """
        leaves = np.empty((GROUP, ROWS), dtype=np.uint8)
        places = np.empty(GROUP + 1, dtype=np.int64)
        n_trees = len(starts) - 1
        for row in range(0, len(scores), ROWS):
            for first in range(0, n_trees, GROUP):
                n_grown = min(GROUP, n_trees - first)
                for number in range(n_grown + 1):
                    places[number] = starts[first + number] + first + number
                for number in range(n_grown):
                    begin, end = np.int64(starts[first + number]), np.int64(starts[first + number + 1])
                    grow(columns, steps, begin, end, fixed_codes, codes, n_fixed, np.int64(row), leaves[number])
                add(leaf_values, places[: n_grown + 1], leaves, scores[row : row + ROWS])

    return replay


replay = compile_replay()
