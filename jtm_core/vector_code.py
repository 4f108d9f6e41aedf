"""Machine code that numba cannot be talked into: blocks of products, sums kept in registers, fetching ahead.

The innermost block of a product is written as LLVM instructions: ``rows`` x ``vectors`` sums stay in registers while the summed
axis runs past; each left number is broadcast and meets ``vectors`` times 16 right ones. What surrounds a block is plain numba.
For bfloat16, of which numba has no type, a number is a pair: AVX-512's ``vdpbf16ps`` multiplies 16 pairs with 16 others and adds
them to 16 float32 sums.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numba
import numba.core.cgutils
import numba.extending
from llvmlite import ir
from numba import types

cgutils: Any = numba.core.cgutils
intrinsic: Callable[[Callable[..., Any]], Any] = numba.extending.intrinsic  # its own types miss that the first argument is numba's

LANES = 16
"""float32 numbers of a vector."""


class _BfloatType(ir.Type):  # type: ignore[misc]
    """LLVM's ``bfloat``, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BfloatType)

    def __hash__(self) -> int:
        return hash(_BfloatType)


_INT, _LONG, _FLOAT, BFLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType(), _BfloatType()
_INTS, _FLOATS, _BFLOATS = ir.VectorType(_INT, LANES), ir.VectorType(_FLOAT, LANES), ir.VectorType(BFLOAT, 2 * LANES)
_PREFETCH = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), _INT, _INT, _INT])
_PAIR_PRODUCT = ir.FunctionType(_FLOATS, [_FLOATS, _BFLOATS, _BFLOATS])
_PRODUCT = ir.FunctionType(_FLOATS, [_FLOATS, _FLOATS, _FLOATS])


def make_block(rows: int, vectors: int) -> Any:
    """The block ``out[row : row + rows, column : column + 16 * vectors]`` of a product, as a function for nopython code.

    Each of its numbers is summed from the first product to the last by itself: the block's size leaves no trace in its bits.

    Parameters
    ----------
    rows, vectors : int
        Size of the block; ``rows * vectors`` sums and ``vectors + 1`` more must fit the registers: 32, or the half and each half as wide
        without AVX-512.

    Returns
    -------
    callable (left, right, out, place)
        ``left``: float32, C-contiguous, numbers found by ``place``; ``right``: float32 (K, J); ``out``: float32 (.., J). For bfloat16,
        ``left``: uint16 pairs; ``right``: uint16 (K / 2, J, 2). ``place``: (row, column, stride of a left row, stride along the summed
        axis), strides counted in numbers or in pairs. Other types do not compile; sizes are not checked.
    """

    @intrinsic
    def block(typing_context: Any, left: Any, right: Any, out: Any, place: Any) -> Any:
        is_allowed = left.dtype == right.dtype and left.dtype in (types.float32, types.uint16) and out.dtype == types.float32
        if not is_allowed or any(array.layout != "C" for array in (left, right, out)):
            raise numba.TypingError(f"a block takes C-contiguous float32, or uint16 into float32, not {left}, {right} into {out}")
        return types.void(left, right, out, place), _block_code(rows, vectors, left.dtype == types.uint16)

    return block


def _block_code(rows: int, vectors: int, is_paired: bool) -> Any:
    number, numbers, multiply_add = (_INT, _INTS, _multiply_add_pairs) if is_paired else (_FLOAT, _FLOATS, _multiply_add)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        left, right, out = (context.make_array(kinds[k])(context, builder, arguments[k]) for k in range(3))
        row, column, row_stride, stride = cgutils.unpack_tuple(builder, arguments[3])
        depth, width = cgutils.unpack_tuple(builder, right.shape)[:2]
        left_rows = [
            builder.gep(builder.bitcast(left.data, number.as_pointer()), [builder.mul(builder.add(row, _LONG(i)), row_stride)])
            for i in range(rows)
        ]
        first = builder.gep(builder.bitcast(right.data, number.as_pointer()), [column])
        sums = [[cgutils.alloca_once(builder, _FLOATS) for _ in range(vectors)] for _ in range(rows)]
        for variable in chain.from_iterable(sums):
            builder.store(ir.Constant(_FLOATS, [0.0] * LANES), variable)
        with cgutils.for_range(builder, depth) as loop:
            rights = [_load(builder, builder.gep(first, [builder.mul(loop.index, width)]), n, numbers) for n in range(vectors)]
            at = builder.mul(loop.index, stride)
            multiply_add(builder, [builder.gep(pointer, [at]) for pointer in left_rows], rights, sums)
        for i in range(rows):
            target = builder.gep(out.data, [builder.add(builder.mul(builder.add(row, _LONG(i)), width), column)])
            for n in range(vectors):
                pointer = builder.bitcast(builder.gep(target, [_LONG(LANES * n)]), _FLOATS.as_pointer())
                builder.store(builder.load(sums[i][n]), pointer, align=4)
        return context.get_dummy_value()

    return code


def _load(builder: Any, pointer: Any, vector: int, kind: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(pointer, [_LONG(LANES * vector)]), kind.as_pointer()), align=4)


def _broadcast(builder: Any, number: Any, kind: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(_INTS, [0] * LANES))


def _multiply_add(builder: Any, lefts: list[Any], rights: list[Any], sums: list[list[Any]]) -> None:
    """Add the products of one number of every left row with all right vectors to the sums; fused where the CPU can."""
    product = cgutils.get_or_insert_function(builder.module, _PRODUCT, "llvm.fmuladd.v16f32")
    for pointer, row_sums in zip(lefts, sums, strict=True):
        left = _broadcast(builder, builder.load(pointer, align=4), _FLOATS)
        for right, variable in zip(rights, row_sums, strict=True):
            builder.store(builder.call(product, [left, right, builder.load(variable)]), variable)


def _multiply_add_pairs(builder: Any, lefts: list[Any], rights: list[Any], sums: list[list[Any]]) -> None:
    """Add the products of one pair of every left row with all right vectors to the sums."""
    product = cgutils.get_or_insert_function(builder.module, _PAIR_PRODUCT, "llvm.x86.avx512bf16.dpbf16ps.512")
    rights = [builder.bitcast(right, _BFLOATS) for right in rights]
    for pointer, row_sums in zip(lefts, sums, strict=True):
        left = builder.bitcast(_broadcast(builder, builder.load(pointer, align=2), _INTS), _BFLOATS)
        for right, variable in zip(rights, row_sums, strict=True):
            builder.store(builder.call(product, [builder.load(variable), left, right]), variable)


def arrays_of(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arrays among the arguments: all but the last."""
    return [context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args[:-1], arguments[:-1], strict=True)]


def _lanes(builder: Any, array: Any, column: Any, row: Any = None) -> Any:
    """16 float32 numbers of a vector, or of a row of a matrix."""
    at = column if row is None else builder.add(column, builder.mul(row, cgutils.unpack_tuple(builder, array.shape)[1]))
    return _load(builder, builder.gep(array.data, [at]), 0, _FLOATS)


def _prelu(builder: Any, values: Any, slopes: Any) -> Any:
    is_positive = builder.fcmp_ordered(">", values, ir.Constant(_FLOATS, [0.0] * LANES))
    return builder.select(is_positive, values, builder.fmul(values, slopes))


def _store_rounded(builder: Any, values: Any, out: Any, row: Any, column: Any) -> None:
    at = builder.add(column, builder.mul(row, cgutils.unpack_tuple(builder, out.shape)[1]))
    kind = ir.VectorType(BFLOAT, LANES)
    pointer = builder.bitcast(builder.gep(out.data, [at]), kind.as_pointer())
    builder.store(builder.fptrunc(values, kind), pointer, align=2)


@intrinsic
def gather_lanes(typing_context: Any, users: Any, nodes: Any, slopes: Any, out: Any, place: Any) -> Any:
    """Activate 16 columns of a user half plus a node half, round them into ``out``; place: (user, node, row, column)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        user_halves, node_halves, slope, target = arrays_of(context, builder, signature, arguments)
        user, node, row, column = cgutils.unpack_tuple(builder, arguments[-1])
        values = builder.fadd(_lanes(builder, user_halves, column, user), _lanes(builder, node_halves, column, node))
        _store_rounded(builder, _prelu(builder, values, _lanes(builder, slope, column)), target, row, column)
        return context.get_dummy_value()

    return types.void(users, nodes, slopes, out, place), code


@intrinsic
def activate_lanes(typing_context: Any, sums: Any, bias: Any, slopes: Any, out: Any, place: Any) -> Any:
    """Add the bias to 16 columns of a row of sums, activate, round them into ``out``; place: (row, column)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, shift, slope, target = arrays_of(context, builder, signature, arguments)
        row, column = cgutils.unpack_tuple(builder, arguments[-1])
        shifted = builder.fadd(_lanes(builder, values, column, row), _lanes(builder, shift, column))
        _store_rounded(builder, _prelu(builder, shifted, _lanes(builder, slope, column)), target, row, column)
        return context.get_dummy_value()

    return types.void(sums, bias, slopes, out, place), code


@intrinsic
def output_row(typing_context: Any, sums: Any, bias: Any, slopes: Any, vector: Any, row: Any) -> Any:
    """Add the bias to a row of sums, activate, multiply by ``vector`` and add up: float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, shift, slope, factors = arrays_of(context, builder, signature, arguments)
        total = cgutils.alloca_once(builder, _FLOATS)
        builder.store(ir.Constant(_FLOATS, [0.0] * LANES), total)
        width = cgutils.unpack_tuple(builder, values.shape)[1]
        with cgutils.for_range_slice(builder, _LONG(0), width, _LONG(LANES), inc=True) as (column, _):
            shifted = builder.fadd(_lanes(builder, values, column, arguments[-1]), _lanes(builder, shift, column))
            active = _prelu(builder, shifted, _lanes(builder, slope, column))
            builder.store(builder.fadd(builder.load(total), builder.fmul(active, _lanes(builder, factors, column))), total)
        kind = ir.FunctionType(_FLOAT, [_FLOAT, _FLOATS])
        add_up = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
        return builder.call(add_up, [ir.Constant(_FLOAT, 0.0), builder.load(total)], fastmath=("reassoc",))

    return types.float32(sums, bias, slopes, vector, row), code


def make_row_sum(vectors: int) -> Any:
    """A weighted sum of some rows of a table, ``16 * vectors`` columns of it, as a function for nopython code.

    Parameters
    ----------
    vectors : int
        As many sums stay in registers while the rows run past.

    Returns
    -------
    callable (table, rows, factors, out, place)
        Adds ``factors[k] * table[rows[k]]``, first <= k < last, in order, to columns of a row of ``out``. ``rows`` is int64, the rest
        float32 and C-contiguous; ``place``: (row, column, first, last). Nothing is checked.
    """

    @intrinsic
    def row_sum(typing_context: Any, table: Any, rows: Any, factors: Any, out: Any, place: Any) -> Any:
        return types.void(table, rows, factors, out, place), _row_sum_code(vectors)

    return row_sum


def _row_sum_code(vectors: int) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, rows, factors, out = arrays_of(context, builder, signature, arguments)
        row, column, first, last = cgutils.unpack_tuple(builder, arguments[-1])
        sums = [cgutils.alloca_once(builder, _FLOATS) for _ in range(vectors)]
        columns = [builder.add(column, _LONG(LANES * n)) for n in range(vectors)]
        for variable, at in zip(sums, columns, strict=True):
            builder.store(_lanes(builder, out, at, row), variable)
        with cgutils.for_range_slice(builder, first, last, _LONG(1), inc=True) as (k, _):
            factor = _broadcast(builder, builder.load(builder.gep(factors.data, [k])), _FLOATS)
            source = builder.load(builder.gep(rows.data, [k]))
            for variable, at in zip(sums, columns, strict=True):
                term = builder.fmul(factor, _lanes(builder, table, at, source), ("contract",))
                builder.store(builder.fadd(builder.load(variable), term, ("contract",)), variable)
        for variable, at in zip(sums, columns, strict=True):
            target = builder.gep(out.data, [builder.add(at, builder.mul(row, cgutils.unpack_tuple(builder, out.shape)[1]))])
            builder.store(builder.load(variable), builder.bitcast(target, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return code


@intrinsic
def round_bfloat16(typing_context: Any, value: Any) -> Any:
    """The nearest bfloat16 number's bits, ties to even: float32 -> uint16; loops over it become vector instructions."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], BFLOAT), ir.IntType(16))

    return types.uint16(types.float32), code


@intrinsic
def _prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; never fails, changes nothing."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer_type = ir.IntType(8).as_pointer()
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer_type], _PREFETCH)
        builder.call(fetch, [builder.inttoptr(arguments[0], pointer_type), _INT(0), _INT(3), _INT(1)])
        return context.get_dummy_value()

    return types.void(address), code


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def prefetch_row(start: int, row: int, size: int) -> None:
    """Ask for all cache lines of a row of ``size`` bytes of the table at the address ``start``."""
    for offset in range(0, size, 64):
        _prefetch(start + row * size + offset)
