"""An input of the first layer that belongs to the pair: the inner product of the user's and the node's factor.

Factors stand behind the units of the first layer in the rows of halves (:mod:`jtm_core.model`), filled up with zeros to whole
groups of :data:`PRODUCT_LANES`. Whoever needs one calls :func:`multiply_columns` and :func:`lifted`, so a pair has the same bits
in training's rows, in a walk, in a scan and in tree learning.

Shape letters: R rows of a tile, S users' halves, V nodes' halves, H units of the first layer, F columns of factors.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from jtm_core.vector_code import arrays_of, cgutils, intrinsic

Floats = NDArray[np.float32]
Index = NDArray[np.int32]

PRODUCT_LANES = 8
"""float32 numbers that :func:`multiply_columns` takes at a time; vectors as narrow as 24 have no rest then."""
_LONG, _FLOAT = ir.IntType(64), ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, PRODUCT_LANES)


@intrinsic
def multiply_columns(typing_context: Any, left: Any, right: Any, place: Any) -> Any:
    """Inner product of the columns from one on, in groups of 8, of two rows: float32; place: (left row, right row, first column)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = arrays_of(context, builder, signature, arguments)
        *rows, first = cgutils.unpack_tuple(builder, arguments[-1])
        width, kind = cgutils.unpack_tuple(builder, arrays[0].shape)[1], ir.VectorType(_FLOAT, PRODUCT_LANES)
        starts = [
            builder.gep(array.data, [builder.mul(row, cgutils.unpack_tuple(builder, array.shape)[1])])
            for array, row in zip(arrays, rows, strict=True)
        ]
        total = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, [0.0] * PRODUCT_LANES), total)
        with cgutils.for_range_slice(builder, first, width, _LONG(PRODUCT_LANES), inc=True) as (column, _):
            own, other = (builder.load(builder.bitcast(builder.gep(start, [column]), kind.as_pointer()), align=4) for start in starts)
            builder.store(builder.fadd(builder.load(total), builder.fmul(own, other)), total)
        add_up = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_FLOAT, [_FLOAT, kind]), "llvm.vector.reduce.fadd.v8f32")
        return builder.call(add_up, [ir.Constant(_FLOAT, 0.0), builder.load(total)], fastmath=("reassoc",))

    return types.float32(left, right, place), code


@numba.njit(fastmath=False, cache=True, nogil=True)
def lifted(half: np.float32, product: np.float32, weight: np.float32) -> np.float32:
    """A unit of the first layer before its activation, with its share of the inner product; the same bits wherever it is compiled into."""
    return np.float32(half + product * weight)


@numba.njit(fastmath=False, cache=True, nogil=True)
def multiply_factors(halves: tuple[Floats, Floats], users: Index, nodes: Index, num_units: int, out: Floats) -> None:
    """Inner products of rows' factors.

    Parameters
    ----------
    halves : float32 arrays (S, H + F) and (V, H + F)
        Of users and nodes.
    users, nodes : int32 array (R,)
        Which of them a row has.
    num_units : int
        H.
    out : float32 array (R,) or longer
    """
    for i in range(len(users)):
        out[i] = multiply_columns(halves[0], halves[1], (np.intp(users[i]), np.intp(nodes[i]), num_units))


@numba.njit(fastmath=False, cache=True, nogil=True)
def add_products(products: Floats, weights: Floats, first: Floats, rows: int) -> None:
    """Add each row's inner product to the units of the first layer; ``weights`` are the product layer's: float32 (H,)."""
    for i in range(rows):
        for j in range(len(weights)):
            first[i, j] = lifted(first[i, j], products[i], weights[j])


@numba.njit(fastmath=True, cache=True, nogil=True)
def products_back(upper: Floats, products: Floats, weights: Floats, weight_gradient: Floats, rows: int) -> None:
    """From the gradient by the first layer, ``upper`` (R, H), to that by the inner products, in their place, and by their weights."""
    for i in range(rows):
        total, product = np.float32(0), products[i]
        for j in range(len(weights)):
            total += upper[i, j] * weights[j]
            weight_gradient[j] += upper[i, j] * product
        products[i] = total


@numba.njit(fastmath=True, cache=True, nogil=True)
def factors_back(
    upper: Floats, halves: tuple[Floats, Floats], users: Index, nodes: Index, num_units: int, gradients: tuple[Floats, Floats]
) -> None:
    """Add each row's gradients by its factors to those of its halves; ``upper`` (R,) is that by the inner products."""
    user_halves, node_halves = halves
    user_gradients, node_gradients = gradients
    for i in range(len(users)):
        u, v, own = users[i], nodes[i], upper[i]
        for j in range(num_units, user_halves.shape[1]):
            user_gradients[u, j] += own * node_halves[v, j]
            node_gradients[v, j] += own * user_halves[u, j]
