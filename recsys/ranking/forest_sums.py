"""The sum over trees, many rows at a time.

Where the processor can pick from sixteen doubles at once (AVX-512), the leaves of a small tree lie in four registers;
elsewhere, and where a tree is larger, one value is looked up after the other. Both add in the order of the trees.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from recsys.ranking.forest_lanes import ROWS, unwrap

GROUP: Final = 4  # trees
SMALL: Final = 32  # leaves in four registers
Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Leaves = npt.NDArray[np.uint8]

_tools: Any = cgutils  # without types of its own
_REGISTER = 8
_VALUES = ir.VectorType(ir.DoubleType(), _REGISTER)
_PLACES = ir.VectorType(ir.IntType(64), _REGISTER)
_WORD = ir.IntType(64)


@njit(nogil=True, boundscheck=False)
def add_one_by_one(values: Doubles, places: Places, leaves: Leaves, scores: Doubles) -> None:
    """Add the leaves of up to four trees to the scores of some rows.

    Parameters
    ----------
    values
        The leaves of all trees.
    places
        Where in `values` those of each tree begin, and where they end, `(n_trees + 1,)`.
    leaves
        Which leaf each row falls into, `(4, n_rows)`.
    scores
        `(n_rows,)`, added to tree after tree.
    """
    if len(places) <= GROUP:
        for tree in range(len(places) - 1):
            for row in range(ROWS):
                scores[row] += values[places[tree] + leaves[tree, row]]
        return
    first, second, third, fourth = values[places[0] :], values[places[1] :], values[places[2] :], values[places[3] :]
    for row in range(ROWS):
        total = scores[row] + first[leaves[0, row]]
        total += second[leaves[1, row]]
        total += third[leaves[2, row]]
        scores[row] = total + fourth[leaves[3, row]]


@njit(nogil=True, boundscheck=False)
def add_together(values: Doubles, places: Places, leaves: Leaves, scores: Doubles) -> None:
    """Add like `add_one_by_one`, eight rows at a time where there are four trees of at most 32 leaves.

    From where the leaves of the last tree begin, 32 of `values` can be read.
    """
    n_most = np.int64(0)
    for tree in range(len(places) - 1):
        n_most = max(n_most, places[tree + 1] - places[tree])
    if len(places) > GROUP and n_most <= SMALL:
        _add_looked_up(values, places, leaves, scores)
    else:
        add_one_by_one(values, places, leaves, scores)


def _type_add(_context: Any, values: Any, places: Any, leaves: Any, scores: Any) -> tuple[Any, Callable[..., Any]]:
    """Describe `_add_looked_up` to Numba: its signature, and what writes its code."""
    return types.void(values, places, leaves, scores), _write_add


def _write_add(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write a loop over eight rows at a time, with all leaves of four trees in registers."""
    values, places, leaves, scores = unwrap(context, builder, signature, arguments)
    begins = [builder.load(builder.gep(places.data, [_at(tree)])) for tree in range(GROUP)]
    trees = [
        [_load(builder, values.data, builder.add(begin, _at(first))) for first in range(0, SMALL, _REGISTER)]
        for begin in begins
    ]
    with _tools.for_range(builder, _at(ROWS // _REGISTER)) as loop:
        start = builder.mul(loop.index, _at(_REGISTER))
        total = _load(builder, scores.data, start)
        for number, registers in enumerate(trees):
            here = builder.gep(leaves.data, [builder.add(start, _at(number * ROWS))])
            few = ir.VectorType(ir.IntType(8), _REGISTER).as_pointer()
            wide = builder.zext(builder.load(builder.bitcast(here, few), align=1), _PLACES)
            total = builder.fadd(total, _look_up(builder, registers, wide))
        place = builder.bitcast(builder.gep(scores.data, [start]), _VALUES.as_pointer())
        builder.store(total, place, align=8)
    return context.get_dummy_value()


def _look_up(builder: Any, registers: list[Any], places: Any) -> Any:
    """Pick from 32 doubles: from each half by the last four bits of a place, then one of both by the fifth."""
    kind = ir.FunctionType(_VALUES, [_VALUES, _PLACES, _VALUES])
    pick = _tools.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpermi2var.pd.512")
    low, high = (builder.call(pick, [one, places, other]) for one, other in (registers[:2], registers[2:]))
    fifth = builder.and_(places, ir.Constant(_PLACES, [16] * _REGISTER))
    return builder.select(builder.icmp_unsigned("!=", fifth, ir.Constant(_PLACES, [0] * _REGISTER)), high, low)


def _load(builder: Any, data: Any, start: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(data, [start]), _VALUES.as_pointer()), align=8)


def _at(number: int) -> Any:
    return ir.Constant(_WORD, number)


_add_looked_up = cast("Callable[..., None]", intrinsic(_type_add))
