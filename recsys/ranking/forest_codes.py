"""The place of values among cuts, many values at a time.

Where the processor can look sixteen numbers up at once (AVX-512), a value walks down a binary tree of cuts that lie in
registers; elsewhere it is compared with every cut, sixty-four values at a time.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from recsys.ranking.forest_lanes import LANES, spread, unwrap

AHEAD: Final = 1024  # values; none need be there
MAX_LEVELS: Final = 8  # 254 cuts

_tools: Any = cgutils  # without types of its own
_INDEX, _BYTE, _FLOAT = ir.IntType(32), ir.IntType(8), ir.FloatType()
_REGISTER = 16  # floats in a register, and in a line of the cache


@njit(nogil=True, boundscheck=False)
def keep_order(cuts: npt.NDArray[np.float32], n_cuts: int, kept: npt.NDArray[np.float32]) -> int:
    """Leave the cuts as they are, for `count_lanes`; the size is their number."""
    for place in range(n_cuts):
        kept[place] = cuts[place]
    return n_cuts


@njit(nogil=True, boundscheck=False)
def plant_tree(cuts: npt.NDArray[np.float32], n_cuts: int, tree: npt.NDArray[np.float32]) -> int:
    """Arrange ascending cuts as a complete binary tree, for `search_lanes`; the size is its depth.

    The root stands at 1, the children of place p at 2p and 2p + 1; what is missing to a complete tree is infinite.
    """
    depth = 0
    while (1 << depth) - 1 < n_cuts:
        depth += 1
    for level in range(depth):
        for place in range(1 << level):
            rank = ((2 * place + 1) << (depth - 1 - level)) - 1
            tree[(1 << level) + place] = cuts[rank] if rank < n_cuts else np.inf
    return depth


def _type_codes(write: Callable[..., Any]) -> Callable[..., tuple[Any, Callable[..., Any]]]:
    """Describe to Numba the signature of both, and what writes the code of one."""

    def describe(
        _context: Any,
        values: Any,
        cuts: Any,
        size: Any,
        shift: Any,
        missing_code: Any,
        largest_zero: Any,
        codes: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        return types.void(values, cuts, size, shift, missing_code, largest_zero, codes), write

    return describe


def _write_count(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write a loop over cuts, each compared with all values at once."""
    values, cuts, n_cuts, shift, missing_code, largest_zero, codes = unwrap(context, builder, signature, arguments)
    rows = _load(builder, values.data, 0, LANES)
    _fetch_ahead(builder, values.data)
    # Counted in floats: whole numbers LLVM would count in the bytes that they become, which takes longer than the cuts.
    cell = _tools.alloca_once_value(builder, ir.Constant(rows.type, [0.0] * LANES))
    one = ir.Constant(rows.type, [1.0] * LANES)
    with _tools.for_range(builder, n_cuts) as loop:
        cut = spread(builder, builder.load(builder.gep(cuts.data, [loop.index])))
        count = builder.load(cell)
        builder.store(builder.select(builder.fcmp_ordered("<", cut, rows), builder.fadd(count, one), count), cell)
    number = builder.fptosi(builder.load(cell), ir.VectorType(_INDEX, LANES))
    _store(builder, codes.data, 0, rows, number, (shift, missing_code, largest_zero))
    return context.get_dummy_value()


def _write_search(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write one step down the tree for each level that it has, taken by four registers of values."""
    values, tree, depth, shift, missing_code, largest_zero, codes = unwrap(context, builder, signature, arguments)
    starts = range(0, LANES, _REGISTER)
    _fetch_ahead(builder, values.data)
    rows = [_load(builder, values.data, start, _REGISTER) for start in starts]
    whole = ir.VectorType(_INDEX, _REGISTER)
    places = [_tools.alloca_once_value(builder, ir.Constant(whole, [1] * _REGISTER)) for _ in starts]
    for level in range(MAX_LEVELS):
        with builder.if_then(builder.icmp_signed("<", ir.Constant(depth.type, level), depth)):
            # Places of the first four levels share a register, and their root stands at 1.
            first = 0 if level < 4 else 1 << level
            pieces = [
                _load(builder, tree.data, first + start, _REGISTER) for start in range(0, max(first, 1), _REGISTER)
            ]
            for row, cell in zip(rows, places, strict=True):
                place = builder.load(cell)
                is_above = builder.fcmp_ordered("<", _look_up(builder, pieces, place), row)
                # True is all ones, that is -1.
                child = builder.sub(builder.add(place, place), builder.sext(is_above, whole))
                builder.store(child, cell)
    n_leaves = builder.shl(ir.Constant(_INDEX, 1), builder.trunc(depth, _INDEX))
    for start, row, cell in zip(starts, rows, places, strict=True):
        number = builder.sub(builder.load(cell), spread(builder, n_leaves, _REGISTER))
        _store(builder, codes.data, start, row, number, (shift, missing_code, largest_zero))
    return context.get_dummy_value()


def _look_up(builder: Any, pieces: list[Any], place: Any) -> Any:
    """Pick from a level of the tree by the last bits of places: a power of two of registers, first to last."""
    register = pieces[0].type
    if len(pieces) == 1:
        kind = ir.FunctionType(register, [register, place.type])
        pick = _tools.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.permvar.sf.512")
        return builder.call(pick, [pieces[0], place])
    if len(pieces) == 2:
        kind = ir.FunctionType(register, [register, place.type, register])
        pick = _tools.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpermi2var.ps.512")
        return builder.call(pick, [pieces[0], place, pieces[1]])
    half = len(pieces) // 2
    left, right = _look_up(builder, pieces[:half], place), _look_up(builder, pieces[half:], place)
    bit = ir.Constant(place.type, [half * _REGISTER] * _REGISTER)
    nothing = ir.Constant(place.type, [0] * _REGISTER)
    return builder.select(builder.icmp_unsigned("!=", builder.and_(place, bit), nothing), right, left)


def _load(builder: Any, data: Any, start: int, n_lanes: int) -> Any:
    """Load floats from some place on."""
    kind = ir.VectorType(_FLOAT, n_lanes).as_pointer()
    return builder.load(builder.bitcast(builder.gep(data, [ir.Constant(_INDEX, start)]), kind), align=4)


def _fetch_ahead(builder: Any, data: Any) -> None:
    """Have the values of a later call brought near: of itself the processor foresees none beyond a page."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INDEX, _INDEX, _INDEX])
    prefetch = _tools.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    for start in range(AHEAD, AHEAD + LANES, _REGISTER):
        place = builder.bitcast(builder.gep(data, [ir.Constant(_INDEX, start)]), _BYTE.as_pointer())
        builder.call(prefetch, [place, *(ir.Constant(_INDEX, value) for value in (0, 3, 1))])


def _store(builder: Any, data: Any, start: int, rows: Any, numbers: Any, rest: tuple[Any, Any, Any]) -> None:
    """Store numbers of cuts as bytes, shifted, and the code of what is missing where something is."""
    n_lanes = rows.type.count
    shift, missing_code, largest_zero = (spread(builder, value, n_lanes) for value in rest)
    is_value = builder.or_(
        builder.fcmp_ordered(">", rows, largest_zero), builder.fcmp_ordered("<", rows, builder.fneg(largest_zero))
    )
    chosen = builder.select(is_value, builder.add(numbers, shift), missing_code)
    kind = ir.VectorType(_BYTE, n_lanes)
    place = builder.bitcast(builder.gep(data, [ir.Constant(_INDEX, start)]), kind.as_pointer())
    builder.store(builder.trunc(chosen, kind), place, align=1)


# count_lanes, search_lanes(values, cuts, size, shift, missing_code, largest_zero, codes): find for each of 64 values
# how many cuts lie below, and write the number plus `shift` as a byte, `(64,)`, or `missing_code` for NaN and for what
# is no larger than `largest_zero`, of either sign. `keep_order`, or `plant_tree`, gives cuts and size.
count_lanes = cast("Callable[..., None]", intrinsic(_type_codes(_write_count)))
search_lanes = cast("Callable[..., None]", intrinsic(_type_codes(_write_search)))
