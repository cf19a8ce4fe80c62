"""The innermost loops of a forest, written for vector registers.

Numba's own loops keep the leaves of rows in memory between two splits, which costs more than the splits, and look up
one value after the other. LLVM turns vectors of 64 elements into whatever the machine has: 64 bytes are one register
with AVX-512, two with AVX2, four on ARM.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDE: Final = bool(binding.get_host_cpu_features().get("avx512f"))
LANES: Final = 64
VECTORS: Final = 8 if WIDE else 4  # as many as there is room for in registers
ROWS: Final = LANES * VECTORS

_tools: Any = cgutils  # without types of its own
_BYTE, _WORD, _INDEX = ir.IntType(8), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_BYTE, LANES)


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
    data = unwrap(context, builder, signature, arguments)
    columns, steps, first, last, fixed_codes, other_codes, n_fixed, start, leaves = data
    strides = [builder.extract_value(table.shape, 1) for table in (fixed_codes, other_codes)]
    cells = [_tools.alloca_once_value(builder, ir.Constant(_VECTOR, [0] * LANES)) for _ in range(VECTORS)]
    with _tools.for_range(builder, builder.sub(last, first)) as loop:
        split = builder.add(first, loop.index)
        column = builder.sext(builder.load(builder.gep(columns.data, [split])), _WORD)
        step = builder.mul(split, ir.Constant(_WORD, 3))
        limit, leaf, new = (
            _repeat(builder, builder.load(builder.gep(steps.data, [builder.add(step, ir.Constant(_WORD, field))])))
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


def unwrap(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Open arrays, so that their data can be pointed at, and leave numbers as they are."""
    return [
        context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def spread(builder: Any, element: Any, n_lanes: int = LANES) -> Any:
    """Fill a vector with one element."""
    nothing = ir.Constant(ir.VectorType(element.type, n_lanes), ir.Undefined)
    single = builder.insert_element(nothing, element, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(single, nothing, ir.Constant(ir.VectorType(_INDEX, n_lanes), [0] * n_lanes))


def _repeat(builder: Any, word: Any) -> Any:
    """Fill a vector with the four bytes of a word: from memory that takes no shuffle, as a single byte would."""
    return builder.bitcast(spread(builder, word, LANES // 4), _VECTOR)


def _point(builder: Any, data: Any, number: int) -> Any:
    """Point at a vector among bytes."""
    return builder.bitcast(builder.gep(data, [ir.Constant(_WORD, number * LANES)]), _VECTOR.as_pointer())


# grow(columns, steps, first, last, fixed_codes, codes, n_fixed, start, leaves): apply the splits from `first` to `last`
# to the ROWS rows from `start`, and write the leaf of each, `(ROWS,)`; the other arguments are those of `replay`.
grow = cast("Callable[..., None]", intrinsic(_type_grow))
