"""Machine code for training: activations on the way forth and back, over whole columns of a tile.

A tile's gradient by the slopes and biases is a sum over its rows. Written as loops, numba keeps such sums in memory and
loads and stores them for every row; here a few columns at a time run past all rows with their sums in registers. These are
plain vectors of LLVM's, which it fits to any processor.

For bfloat16 a tile is written twice: row by row, as the next product's left side, and in *pairs* of rows, (N / 2, W, 2), over
which the weight gradients are summed (:func:`jtm_core.bfloat16.dot_pairs`).
"""

from typing import Any

from llvmlite import ir
from numba import types

from jtm_core.vector_code import BFLOAT, LANES, cgutils, intrinsic

BACK_LANES = 8
"""Columns that :func:`back_columns` takes at a time; layers as narrow as 24 have no rest then."""
_LONG, _FLOAT, _SHORT = ir.IntType(64), ir.FloatType(), ir.IntType(16)


class _Tile:
    """Reads and writes some neighbouring columns of the rows of matrices."""

    def __init__(self, builder: Any, lanes: int, column: Any) -> None:
        self.builder, self.lanes, self.column = builder, lanes, column
        self.kind = ir.VectorType(_FLOAT, lanes)
        self.zero = ir.Constant(self.kind, [0.0] * lanes)

    def pointer(self, array: Any, row: Any, kind: Any, items: int = 1) -> Any:
        """Where the columns of a row begin; a column is ``items`` numbers."""
        builder, at = self.builder, self.column
        if row is not None:
            at = builder.add(at, builder.mul(row, cgutils.unpack_tuple(builder, array.shape)[1]))
        return builder.bitcast(builder.gep(array.data, [builder.mul(at, _LONG(items))]), kind.as_pointer())

    def load(self, array: Any, row: Any = None) -> Any:
        """The columns of a row, or of a vector."""
        return self.builder.load(self.pointer(array, row, self.kind), align=4)

    def store(self, values: Any, array: Any, row: Any = None) -> None:
        """Write the columns of a row, or of a vector."""
        self.builder.store(values, self.pointer(array, row, self.kind), align=4)

    def is_positive(self, values: Any) -> Any:
        """Which values are above 0; NaN is not."""
        return self.builder.fcmp_ordered(">", values, self.zero)

    def activate(self, values: Any, slopes: Any) -> Any:
        """PReLU."""
        return self.builder.select(self.is_positive(values), values, self.builder.fmul(values, slopes))

    def store_rounded(self, values: list[Any], rows_out: Any, pairs_out: Any, pair: Any) -> None:
        """Write two rows in both layouts."""
        builder, kind = self.builder, ir.VectorType(BFLOAT, self.lanes)
        rounded = [builder.fptrunc(value, kind) for value in values]
        for value, row in zip(rounded, self.rows_of_pair(pair), strict=True):
            builder.store(value, self.pointer(rows_out, row, kind), align=2)
        shorts = [builder.bitcast(value, ir.VectorType(_SHORT, self.lanes)) for value in rounded]
        order = [lane + k * self.lanes for lane in range(self.lanes) for k in range(2)]
        mixed = builder.shuffle_vector(*shorts, ir.Constant(ir.VectorType(ir.IntType(32), 2 * self.lanes), order))
        builder.store(mixed, self.pointer(pairs_out, pair, mixed.type, 2), align=2)

    def rows_of_pair(self, pair: Any) -> list[Any]:
        """The two rows of a pair."""
        return [self.builder.add(self.builder.shl(pair, _LONG(1)), _LONG(k)) for k in range(2)]


def _back(tile: _Tile, values: Any, upper: Any, slopes: Any, totals: tuple[Any, Any]) -> Any:
    """Gradient below one row's activation; adds its shares of the slopes' and biases' gradients to ``totals``."""
    builder = tile.builder
    is_positive = tile.is_positive(values)
    gradient = builder.select(is_positive, upper, builder.fmul(upper, slopes))
    below = builder.select(is_positive, tile.zero, values)
    for total, share in zip(totals, (builder.fmul(upper, below), gradient), strict=True):
        builder.store(builder.fadd(builder.load(total), share), total)
    return gradient


def _totals(tile: _Tile) -> tuple[Any, Any]:
    pair = cgutils.alloca_once(tile.builder, tile.kind), cgutils.alloca_once(tile.builder, tile.kind)
    for total in pair:
        tile.builder.store(tile.zero, total)
    return pair


def _add_totals(tile: _Tile, totals: tuple[Any, Any], arrays: list[Any]) -> None:
    for total, array in zip(totals, arrays, strict=True):
        tile.store(tile.builder.fadd(tile.load(array), tile.builder.load(total)), array)


def _arrays(context: Any, builder: Any, kinds: Any, value: Any) -> list[Any]:
    """The arrays of a tuple."""
    parts = cgutils.unpack_tuple(builder, value)
    return [context.make_array(kind)(context, builder, part) for kind, part in zip(kinds, parts, strict=True)]


@intrinsic
def back_columns(typing_context: Any, inputs: Any, sums: Any, place: Any) -> Any:
    """Pass a gradient back through PReLU, in place, over 8 columns of a float32 tile.

    ``inputs``: (values before the activation, slopes, gradient); ``sums``: (gradient by the slopes, by the biases), added to;
    ``place``: (rows, column).
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value, slope, upper), added = (_arrays(context, builder, signature.args[k], arguments[k]) for k in range(2))
        num_rows, column = cgutils.unpack_tuple(builder, arguments[-1])
        tile = _Tile(builder, BACK_LANES, column)
        totals, slope_lanes = _totals(tile), tile.load(slope)
        with cgutils.for_range(builder, num_rows) as loop:
            passed = _back(tile, tile.load(value, loop.index), tile.load(upper, loop.index), slope_lanes, totals)
            tile.store(passed, upper, loop.index)
        _add_totals(tile, totals, added)
        return context.get_dummy_value()

    return types.void(inputs, sums, place), code


@intrinsic
def back_columns_rounded(typing_context: Any, inputs: Any, outs: Any, sums: Any, place: Any) -> Any:
    """As :func:`back_columns`, 16 columns, the gradient rounded into ``outs``; place: (pairs of rows, column)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        groups = [_arrays(context, builder, signature.args[k], arguments[k]) for k in range(3)]
        (value, slope, upper), (rows_out, pairs_out), added = groups
        num_pairs, column = cgutils.unpack_tuple(builder, arguments[-1])
        tile = _Tile(builder, LANES, column)
        totals, slope_lanes = _totals(tile), tile.load(slope)
        with cgutils.for_range(builder, num_pairs) as loop:
            rows = tile.rows_of_pair(loop.index)
            passed = [_back(tile, tile.load(value, row), tile.load(upper, row), slope_lanes, totals) for row in rows]
            tile.store_rounded(passed, rows_out, pairs_out, loop.index)
        _add_totals(tile, totals, added)
        return context.get_dummy_value()

    return types.void(inputs, outs, sums, place), code


@intrinsic
def activate_columns(typing_context: Any, inputs: Any, outs: Any, place: Any) -> Any:
    """Add the bias to 16 columns of a tile, in place, activate, round into ``outs``.

    ``inputs``: (values, bias, slopes); ``outs``: (rows, pairs); ``place``: (pairs of rows, column).
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value, shift, slope), (rows_out, pairs_out) = (_arrays(context, builder, signature.args[k], arguments[k]) for k in range(2))
        num_pairs, column = cgutils.unpack_tuple(builder, arguments[-1])
        tile = _Tile(builder, LANES, column)
        shift_lanes, slope_lanes = tile.load(shift), tile.load(slope)
        with cgutils.for_range(builder, num_pairs) as loop:
            active = []
            for row in tile.rows_of_pair(loop.index):
                shifted = builder.fadd(tile.load(value, row), shift_lanes)
                tile.store(shifted, value, row)
                active.append(tile.activate(shifted, slope_lanes))
            tile.store_rounded(active, rows_out, pairs_out, loop.index)
        return context.get_dummy_value()

    return types.void(inputs, outs, place), code
