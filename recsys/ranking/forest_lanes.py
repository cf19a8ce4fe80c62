"""The innermost loops of a forest, written for vector registers.

Numba's own loops keep the leaves of rows in memory between two splits, which costs more than the splits, and look up
one value after the other. LLVM turns vectors of 64 elements into whatever the machine has: 64 bytes are one register
with AVX-512, two with AVX2, four on ARM.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES: Final = 64
VECTORS: Final = 4
ROWS: Final = LANES * VECTORS

_tools: Any = cgutils  # without types of its own
_BYTE, _WORD, _INDEX, _FLOAT = ir.IntType(8), ir.IntType(64), ir.IntType(32), ir.FloatType()
_VECTOR = ir.VectorType(_BYTE, LANES)
_NUMBERS, _VALUES = ir.VectorType(_INDEX, LANES), ir.VectorType(_FLOAT, LANES)


def _type_grow(
    _context: Any,
    columns: Any,
    steps: Any,
    first: Any,
    last: Any,
    fixed_codes: Any,
    codes: Any,
    n_fixed: Any,
    start: Any,
    leaves: Any,
) -> tuple[Any, Callable[..., Any]]:
    """Describe `grow` to Numba: its signature, and what writes its code."""
    signature = types.void(columns, steps, first, last, fixed_codes, codes, n_fixed, start, leaves)
    return signature, _write_grow


def _write_grow(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the code of `grow`: a loop over splits, and in it one step for each vector of rows."""
    data = _unwrap(context, builder, signature, arguments)
    columns, steps, first, last, fixed_codes, other_codes, n_fixed, start, leaves = data
    strides = [builder.extract_value(table.shape, 1) for table in (fixed_codes, other_codes)]
    cells = [_tools.alloca_once_value(builder, ir.Constant(_VECTOR, [0] * LANES)) for _ in range(VECTORS)]
    with _tools.for_range(builder, builder.sub(last, first)) as loop:
        split = builder.add(first, loop.index)
        column = builder.sext(builder.load(builder.gep(columns.data, [split])), _WORD)
        step = builder.mul(split, ir.Constant(_WORD, 3))
        limit, leaf, new = (
            _spread(builder, builder.load(builder.gep(steps.data, [builder.add(step, ir.Constant(_WORD, field))])))
            for field in range(3)
        )
        is_fixed = builder.icmp_signed("<", column, n_fixed)
        place = builder.select(is_fixed, column, builder.sub(column, n_fixed))
        row = builder.mul(place, builder.select(is_fixed, *strides))
        table = builder.select(is_fixed, fixed_codes.data, other_codes.data)
        codes = builder.gep(table, [builder.add(row, start)])
        for number, cell in enumerate(cells):
            here = builder.load(cell)
            is_above = builder.icmp_unsigned(">", builder.load(_point(builder, codes, number), align=1), limit)
            moves = builder.and_(builder.icmp_unsigned("==", here, leaf), is_above)
            builder.store(builder.select(moves, new, here), cell)
    for number, cell in enumerate(cells):
        builder.store(builder.load(cell), _point(builder, leaves.data, number), align=1)
    return context.get_dummy_value()


def _type_encode(
    _context: Any,
    values: Any,
    cuts: Any,
    n_cuts: Any,
    shift: Any,
    missing_code: Any,
    largest_zero: Any,
    codes: Any,
) -> tuple[Any, Callable[..., Any]]:
    """Describe `encode_lanes` to Numba: its signature, and what writes its code."""
    return types.void(values, cuts, n_cuts, shift, missing_code, largest_zero, codes), _write_encode


def _write_encode(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the code of `encode_lanes`: a loop over cuts, each compared with all values at once, and one step after."""
    values, cuts, n_cuts, shift, missing_code, largest_zero, codes = _unwrap(context, builder, signature, arguments)
    rows = builder.load(builder.bitcast(values.data, _VALUES.as_pointer()), align=4)
    # Counted in floats: whole numbers LLVM would count in the bytes that they become, which takes longer than the cuts.
    cell = _tools.alloca_once_value(builder, ir.Constant(_VALUES, [0.0] * LANES))
    one = ir.Constant(_VALUES, [1.0] * LANES)
    with _tools.for_range(builder, n_cuts) as loop:
        cut = _spread(builder, builder.load(builder.gep(cuts.data, [loop.index])))
        count = builder.load(cell)
        is_below = builder.fcmp_ordered("<", cut, rows)
        builder.store(builder.select(is_below, builder.fadd(count, one), count), cell)
    is_value = builder.or_(
        builder.fcmp_ordered(">", rows, _spread(builder, largest_zero)),
        builder.fcmp_ordered("<", rows, _spread(builder, builder.fneg(largest_zero))),
    )
    count = builder.fadd(builder.load(cell), _spread(builder, shift))
    count = builder.select(is_value, count, _spread(builder, missing_code))
    number = builder.fptosi(count, _NUMBERS)
    builder.store(builder.trunc(number, _VECTOR), builder.bitcast(codes.data, _VECTOR.as_pointer()), align=1)
    return context.get_dummy_value()


def _unwrap(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Open arrays, so that their data can be pointed at, and leave numbers as they are."""
    return [
        context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _spread(builder: Any, element: Any) -> Any:
    """Fill a vector with one element."""
    nothing = ir.Constant(ir.VectorType(element.type, LANES), ir.Undefined)
    single = builder.insert_element(nothing, element, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(single, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))


def _point(builder: Any, data: Any, number: int) -> Any:
    """Point at a vector among bytes."""
    return builder.bitcast(builder.gep(data, [ir.Constant(_WORD, number * LANES)]), _VECTOR.as_pointer())


# grow(columns, steps, first, last, fixed_codes, codes, n_fixed, start, leaves): apply the splits from `first` to `last`
# to the 256 rows from `start`, and write the leaf of each, `(256,)`; the other arguments are those of `replay`.
grow = cast("Callable[..., None]", intrinsic(_type_grow))

# encode_lanes(values, cuts, n_cuts, shift, missing_code, largest_zero, codes): count for each of 64 values how many of
# the first `n_cuts` cuts lie below, and write the number plus `shift` as a byte, `(64,)`, or `missing_code` for NaN and
# for what is no larger than `largest_zero`, of either sign.
encode_lanes = cast("Callable[..., None]", intrinsic(_type_encode))
